"""Virtual rasters: off by default; when allowed, parsed, checked and rebuilt from harmless elements.

A VRT can read any file, contact servers and run code. GDAL never sees the user's text, only what is
built here, so a difference between two XML parsers cannot be used.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from rsov.errors import InputError

MAX_NESTING = 3
_MAX_BYTES = 64 << 20
"""5 000 sources need about 4 MB."""
_LEAVES = {
    "SRS", "GeoTransform", "NoDataValue", "ColorInterp", "Description", "Scale", "Offset", "UnitType",
    "HideNoDataValue", "SourceBand", "SourceProperties", "SrcRect", "DstRect", "NODATA", "ScaleOffset",
    "ScaleRatio", "LUT", "UseMaskBand", "Entry", "GCP", "MDI", "BlockXSize", "BlockYSize",
}  # fmt: skip
_NODES = {
    "VRTDataset", "VRTRasterBand", "SimpleSource", "ComplexSource", "Metadata", "GCPList", "ColorTable",
    "MaskBand",
}  # fmt: skip
_DROPPED = {"OverviewList", "Histograms"}
_ATTRIBUTES = {
    "rasterXSize", "rasterYSize", "dataType", "band", "relativeToVRT", "domain", "key", "Projection", "Id",
    "Info",
    "Pixel", "Line", "X", "Y", "Z", "c1", "c2", "c3", "c4", "xOff", "yOff", "xSize", "ySize", "RasterXSize",
    "RasterYSize", "DataType", "BlockXSize", "BlockYSize", "dataAxisToSRSAxisMapping", "shared", "blockXSize",
    "blockYSize", "coordinateEpoch", "format",
}  # fmt: skip


@dataclass(frozen=True)
class Vrt:
    """A checked VRT: the text for GDAL (absolute source paths) and the files that it reads."""

    xml: str
    sources: tuple[Path, ...]


def load_vrt(path: Path, *, allowed: bool, _depth: int = 1, _root: Path | None = None) -> Vrt:
    """Read and check a VRT.

    Raises:
        InputError: VRTs are not allowed; an element, a source outside of the folder of the (outermost) VRT,
            a source that is missing; nested more than :data:`MAX_NESTING` deep; not well-formed.
    """
    if not allowed:
        raise InputError(
            "E-vrt",
            f"{path} is a virtual raster (VRT); those can read any file and are not opened by default",
            fix="if you trust it: --allow-vrt",
        )
    if _depth > MAX_NESTING:
        raise InputError(
            "E-vrt-nested",
            f"{path} is nested more than {MAX_NESTING} deep",
            why="a VRT that refers to itself?",
        )
    root = _root or path.parent.resolve()
    tree = _parse(path)
    sources: list[Path] = []
    _check(tree, path)
    for band in tree.iter():
        for dropped in [child for child in band if child.tag in _DROPPED]:
            band.remove(dropped)
    for number, element in enumerate(tree.iter("SourceFilename"), 1):
        source = _locate(element, path, root, number)
        if _is_vrt(source):
            inner = load_vrt(source, allowed=True, _depth=_depth + 1, _root=root)
            element.text = inner.xml
            sources.extend(inner.sources)
        else:
            element.text = str(source)
            sources.append(source)
        element.attrib.clear()
        element.set("relativeToVRT", "0")
    return Vrt(ET.tostring(tree, encoding="unicode"), tuple(dict.fromkeys(sources)))


def _parse(path: Path) -> ET.Element:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError("E-vrt", f"{path} is too large for a VRT", where=f"more than {_MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("E-vrt", f"{path} cannot be read as a VRT", why=str(error)) from error
    if "<!" in text.replace("<!--", "").replace("<![CDATA[", "") or "\0" in text:
        raise InputError(
            "E-vrt-element", f"{path} declares XML entities, which no VRT needs", why="XML bomb?"
        )
    if text.lstrip().startswith("<?xml"):
        text = text[text.index("?>") + 2 :] if "?>" in text else text
    try:
        return ET.fromstring(text)  # noqa: S314 - text without declarations, so no entities to expand
    except ET.ParseError as error:
        raise InputError("E-vrt", f"{path} is not well-formed", why=str(error)) from error


def _check(tree: ET.Element, path: Path) -> None:
    if tree.tag != "VRTDataset":
        raise InputError("E-vrt-element", f"{path} is not a VRT data set", where=f"<{tree.tag}>")
    for element in tree.iter():
        known = element.tag in _LEAVES | _NODES | _DROPPED | {"SourceFilename"}
        if element.tag in _DROPPED:
            continue
        unknown = [] if known else [f"<{element.tag}>"]
        if element.tag != "SourceFilename" and element.tag not in {"Overview", "HistItem"}:
            unknown += [
                f'{name}="..." in <{element.tag}>' for name in element.attrib if name not in _ATTRIBUTES
            ]
        if unknown and not _inside_dropped(tree, element):
            raise InputError(
                "E-vrt-element",
                f"{path} uses a part of VRT that rsov does not open",
                where=unknown[0],
                why="only plain mosaics and band stacks are read (SimpleSource, ComplexSource)",
                fix="make a GeoTIFF of it: gdal_translate",
            )


def _inside_dropped(tree: ET.Element, element: ET.Element) -> bool:
    return any(element is inner for name in _DROPPED for outer in tree.iter(name) for inner in outer.iter())


def _locate(element: ET.Element, path: Path, root: Path, number: int) -> Path:
    text = (element.text or "").strip()
    relative = element.get("relativeToVRT", "0") == "1"
    source = Path(os.path.realpath(path.parent / text if relative or not Path(text).is_absolute() else text))
    if text.startswith(("/vsi", "<")) or "://" in text or not source.is_relative_to(root):
        raise InputError(
            "E-vrt-source",
            f"{path} points outside its folder",
            where=f"source {number}: {text[:200]}",
            fix="put the sources beside the VRT",
        )
    if not source.is_file():
        raise InputError(
            "E-vrt-source", f"a source of {path} is missing", where=f"source {number}: {text[:200]}"
        )
    return source


def _is_vrt(source: Path) -> bool:
    with source.open("rb") as file:
        return b"<VRTDataset" in file.read(1024)
