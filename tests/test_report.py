"""The report, its table and its CSV: complete, small, and harmless whatever classes are called."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rsov.report.summary import MAX_BYTES, RunReport, class_areas, output_entry
from rsov.report.table import WIDTH, areas_table, areas_text
from rsov.types import Background, BackgroundTerm, Legend, LegendClass, Notice

INJECTIONS = ['=HYPERLINK("http://x")', "+1", "-1", "@x", "\tx", "\rx"]


def legend(*names: str) -> Legend:
    return Legend(tuple(LegendClass(i, name, (name,), (i % 256, 99, 7)) for i, name in enumerate(names, 1)))


FOREST_ROAD = legend("forest", "road")
PIXELS = {0: 50, 1: 600, 2: 300, 255: 100}
AREA = {value: count * 0.25 for value, count in PIXELS.items()}


def test_shares_are_of_the_valid_area_and_add_up_to_one() -> None:
    forest, road, none, nodata = class_areas(FOREST_ROAD, PIXELS, AREA)
    assert (forest.share, road.share, none.share) == (0.6, 0.3, 0.1)
    assert (forest.area_m2, none.id, none.name) == (150.0, 255, "none of them")
    assert (nodata.share, nodata.pixels, nodata.area_m2) == (None, 50, 12.5)


def test_where_pixels_differ_in_size_the_area_counts() -> None:
    forest, road, *_ = class_areas(FOREST_ROAD, {1: 100, 2: 100}, {1: 300.0, 2: 100.0})
    assert (forest.share, road.share) == (0.75, 0.25)


def test_without_georeference_shares_are_of_pixels() -> None:
    forest, *_ = class_areas(FOREST_ROAD, PIXELS)
    assert (forest.area_m2, forest.share) == (None, 0.6)


def test_Z47_an_empty_map_has_no_shares() -> None:
    assert {row.share for row in class_areas(FOREST_ROAD, {0: 10})} == {None}


def full_report(tmp_path: Path) -> RunReport:
    file = tmp_path / "a_classes.tif"
    file.write_bytes(b"pixels")
    return RunReport(
        legend=FOREST_ROAD,
        areas=class_areas(FOREST_ROAD, PIXELS, AREA),
        background=Background((BackgroundTerm("water", ("water",)),), (("woods", "forest"),)),
        inputs=[{"path": Path("a.tif"), "gsd": (np.float32(0.5), math.nan), "count": np.int64(3)}],
        outputs=[output_entry("classes", tmp_path / "final.tif", file)],
        model={"name": "bundled", "sha256": "ab"},
        settings={"tile": 512},
        warnings=(Notice("W-a", "text"),),
        timing={"seconds": 1.5, "speed": math.inf},
        versions={"rsov": "0.1"},
        run={"id": "0123456789ab", "started": "2026-01-01T00:00:00Z"},
    )


def test_the_report_has_the_keys_of_its_schema(tmp_path: Path) -> None:
    found = json.loads(full_report(tmp_path).to_json())
    assert found["schema"] == "rsov/predict/1"
    assert {
        "schema", "status", "exit_code", "run_id", "inputs", "outputs", "bbox", "legend", "background", "model", "settings",
        "areas", "warnings", "errors", "metrics", "timing", "versions", "run",
    } == set(found)  # fmt: skip
    page = (Path(__file__).resolve().parent.parent / "docs" / "cli.md").read_text(encoding="utf-8")
    section = page.split("## The report")[1].split("\n## ")[0]
    assert not [key for key in found if f"`{key}`" not in section], "docs/cli.md says what each is"
    assert found["run_id"] == found["run"]["id"] == "0123456789ab"
    assert found["background"] == {
        "source": "default",
        "terms": ["water"],
        "dropped": [{"name": "woods", "too_close_to": "forest"}],
    }
    assert [row["name"] for row in found["areas"]] == ["forest", "road", "none of them", "no data"]
    (output,) = found["outputs"]
    assert output["bytes"] == 6
    assert output["path_abs"] == str(tmp_path / "final.tif")
    assert len(output["sha256"]) == 64


def test_numbers_that_are_none_are_null_and_numpy_is_plain(tmp_path: Path) -> None:
    found = json.loads(full_report(tmp_path).to_json(), parse_constant=pytest.fail)
    assert found["inputs"] == [{"path": "a.tif", "gsd": [0.5, None], "count": 3}]
    assert found["timing"] == {"seconds": 1.5, "speed": None}


def test_a_report_survives_names_that_are_no_unicode(tmp_path: Path) -> None:
    name = b"ortho\xff.tif".decode("utf-8", "surrogateescape")
    report = RunReport(legend=FOREST_ROAD, inputs=[{"path": name}])
    assert json.loads(report.to_json())["inputs"][0]["path"] == name


def test_equal_runs_differ_in_run_and_timing_only(tmp_path: Path) -> None:
    first = full_report(tmp_path).to_dict()
    second = full_report(tmp_path).to_dict() | {"run": {}, "run_id": None, "timing": {}}
    assert {key for key in first if first[key] != second[key]} == {"run", "run_id", "timing"}


def test_M16_a_report_stays_below_a_megabyte() -> None:
    many = legend(*(f"class {i}" for i in range(300)))
    rows = [{"tile": [i // 100, i % 100], "counts": list(range(30))} for i in range(50_000)]
    report = RunReport(
        legend=many,
        areas=class_areas(many, dict.fromkeys(range(301), 5000), dict.fromkeys(range(301), 1234.5)),
        metrics={"tiles": rows},
        warnings=[Notice("W-x", f"{i} " + "x" * 300) for i in range(20_000)],
        inputs=[{"path": "a.tif", "tags": {"XML": "x" * 3_000_000}}],
    )
    data = report.to_json()
    assert len(data) <= MAX_BYTES
    found = json.loads(data)
    assert len(found["areas"]) == 302
    assert any(place.startswith("metrics.tiles: 50000 items") for place in found["truncated"])


def test_a_report_of_a_long_crs_and_many_classes_is_whole() -> None:
    many = legend(*(f"class {i}" for i in range(240)))
    report = RunReport(legend=many, inputs=[{"crs": "x" * 5000}], metrics={"tiles": list(range(5000))})
    found = report.to_dict()
    assert "truncated" not in found
    assert len(found["inputs"][0]["crs"]) == 5000
    assert len(found["metrics"]["tiles"]) == 5000


def test_P16_names_are_unchanged_in_json() -> None:
    named = legend(*INJECTIONS)
    found = json.loads(RunReport(legend=named, areas=class_areas(named, {})).to_json())
    assert [row["name"] for row in found["areas"][: len(INJECTIONS)]] == INJECTIONS
    assert [row["name"] for row in found["legend"]] == INJECTIONS


@pytest.mark.parametrize(
    ("square_metres", "shown"),
    [(950.0, "950.0 m²"), (25_000.0, "2.50 ha"), (3.2e6, "320.0 ha"), (5.4e7, "54.00 km²")],
)
def test_the_table_chooses_a_unit_that_reads_well(square_metres: float, shown: str) -> None:
    text = areas_text(class_areas(FOREST_ROAD, {1: 1}, {1: square_metres}))
    number, unit = shown.split()
    assert text.splitlines()[0].split() == ["class", unit, "share"]
    assert number in text.splitlines()[1]


def test_the_table_fits_80_columns_and_cuts_long_names_only() -> None:
    named = legend("x" * 200, "中" * 50, "road")
    text = areas_text(
        class_areas(named, {1: 10**9, 2: 5, 3: 1}, {1: 9.9e12, 2: 1.0, 3: 1.0}), title="t" * 300
    )
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert "road" in text
    assert "9,900,000" in text


def test_little_is_told_from_nothing() -> None:
    named = legend("forest", "car", "boat")
    forest, car, boat, *_ = areas_text(class_areas(named, {1: 10**8, 2: 1}, {1: 1e8, 2: 1.0})).splitlines()[
        1:
    ]
    assert "100.0  100.0%" in forest
    assert "<0.1   <0.1%" in car
    assert "0      0%" in boat


def test_points_of_areas_stand_below_each_other() -> None:
    named = legend("field", "road", "car")
    rows = areas_text(
        class_areas(named, {1: 1, 2: 1, 3: 1}, {1: 117_000.0, 2: 4_400.0, 3: 10.0})
    ).splitlines()[1:4]
    assert [row.split()[2] for row in rows] == ["11.70", "0.44", "<0.01"]
    assert rows[0].index(".") == rows[1].index(".")


def shown(width: int, encoding: str) -> str:
    """A table with a long name on a console; what its stream cannot encode is an error."""
    named = legend("a class with quite a long name", "wäldchen")
    out = io.BytesIO()
    stream = io.TextIOWrapper(out, encoding=encoding, errors="strict")
    areas = class_areas(named, {1: 10**8, 2: 1}, {1: 9876.5, 2: 123.4})
    Console(file=stream, width=width, color_system=None).print(areas_table(areas, title="a long title.tif"))
    stream.flush()
    return out.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [80, 50, 40, 30, 22])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_numbers_are_whole_however_narrow_the_terminal_is(width: int, encoding: str) -> None:
    text = shown(width, encoding)
    assert all(len(line) <= width for line in text.splitlines())
    assert all(number in text for number in ("9,876", "98.8%", "123", "1.2%"))
    assert ("━" in text or "=" in text) == (width == 80)


def test_a_terminal_without_unicode_gets_the_table_in_ascii() -> None:
    text = shown(80, "ascii")
    assert text.isascii()
    assert "##  a class with quite a long name  9,876" in text
    assert " m2 " in text
    assert r"w\xe4ldchen" in text
    assert "..." in shown(40, "ascii")
    assert "m²" in shown(80, "utf-8")


def test_without_georeference_the_table_is_in_pixels() -> None:
    assert "pixels" in areas_text(class_areas(FOREST_ROAD, PIXELS))


def test_300_classes_are_shortened_to_a_screen() -> None:
    named = legend(*(f"class {i}" for i in range(1, 301)))
    text = areas_text(class_areas(named, {i: i for i in range(301)}))
    assert len(text.splitlines()) < 50
    assert "and 260 more" in text
    assert "class 300 " in text
    assert "class 5 " not in text


@pytest.mark.parametrize(
    "name", ["[link=file:///etc/passwd]x[/link]", "[/nope]", "[bold]", "\x1b[31mred", "a\u202eb", "\x9b31m"]
)
def test_P17_names_are_shown_and_never_obeyed(name: str) -> None:
    out = io.StringIO()
    console = Console(
        file=out, width=WIDTH, force_terminal=True, color_system="truecolor", legacy_windows=False
    )
    console.print(areas_table(class_areas(legend(name), {1: 1}), title=name))
    text = out.getvalue()
    assert "\x1b]8" not in text
    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    assert "\x9b" not in text
    if name.isprintable():
        assert name in text
