"""QGIS styles: well-formed whatever classes are called, without anything that runs or points elsewhere."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from rsov.raster.style import polygon_qml, raster_qml
from rsov.types import Legend, LegendClass

NAMES = [
    "forest",
    "a & b",
    "<script>",
    "]]>",
    'say "hi"',
    "it's",
    "x\x00\x08\x1by",
    "Öde 中 🌲",
    "@value",
    "[% expr %]",
]
SHOWN = ["forest", "a & b", "<script>", "]]>", 'say "hi"', "it's", "xy", "Öde 中 🌲", "@value", "[% expr %]"]


def legend(names: list[str]) -> Legend:
    return Legend(
        tuple(LegendClass(i, name, (name,), (i % 256, 2 * i % 256, 254)) for i, name in enumerate(names, 1))
    )


def test_P19_raster_style_is_read_back_by_a_parser() -> None:
    entries = ET.fromstring(raster_qml(legend(NAMES))).findall(
        "./pipe/rasterrenderer/colorPalette/paletteEntry"
    )
    assert [entry.get("label") for entry in entries] == [*SHOWN, "none of them"]
    assert [entry.get("value") for entry in entries] == [*map(str, range(1, len(NAMES) + 1)), "255"]
    assert entries[0].get("color") == "#0102fe"


def test_P19_polygon_style_is_read_back_by_a_parser() -> None:
    root = ET.fromstring(polygon_qml(legend(NAMES)))
    categories = root.findall("./renderer-v2/categories/category")
    assert [category.get("label") for category in categories] == SHOWN
    symbols = {symbol.get("name"): symbol for symbol in root.findall("./renderer-v2/symbols/symbol")}
    assert [category.get("symbol") for category in categories] == list(symbols)
    colour = symbols["0"].find("./layer/Option/Option[@name='color']")
    assert colour is not None
    assert (colour.get("value") or "").startswith("1,2,254,")


def test_300_classes_have_the_none_value_of_uint16() -> None:
    assert 'value="65535"' in raster_qml(legend([f"class {i}" for i in range(300)]))


@pytest.mark.parametrize("make", [raster_qml, polygon_qml])
def test_S34_styles_hold_no_expression_action_or_reference(make) -> None:
    text = make(legend(["forest", "road"]))
    for word in ("<!DOCTYPE", "<!ENTITY", "http:", "https:", "file:", "attributeactions", "expression", "customproperties",
                 "dataDefinedProperties", "PythonMacros", "svg", "href", "mapTip", "eval("):  # fmt: skip
        assert word.lower() not in text.lower(), word
    fields = {element.get("attr") for element in ET.fromstring(text).iter()} - {None}
    assert fields <= {"class_id"}, "QGIS takes anything but the name of a field as an expression"
    assert {element.tag for element in ET.fromstring(text).iter()} <= {
        "qgis", "pipe", "rasterrenderer", "colorPalette", "paletteEntry", "blendMode", "renderer-v2", "categories",
        "category", "symbols", "symbol", "layer", "Option", "prop",
    }  # fmt: skip
