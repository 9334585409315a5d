"""QGIS styles of class rasters and polygons: colours and names, nothing that runs or points elsewhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from rsov.types import NONE_COLOUR, NONE_NAME

if TYPE_CHECKING:
    from rsov.types import Legend, LegendClass

QGIS_VERSION = "3.28.0"
"""The format of the long-term release of 2022; later ones read it."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

OUTLINE_MM = 0.1
FILL_OPACITY = 0.75
"""The picture below the polygons stays visible."""


def raster_qml(legend: Legend) -> str:
    """Style of the class raster (``<stem>_classes.qml``): one palette entry a class, none-of-them included.

    No data is transparent by the raster's nodata value. Made by an XML library; characters that
    XML 1.0 forbids are left out.
    """
    root = ET.Element(
        "qgis", version=QGIS_VERSION, styleCategories="Symbology", hasScaleBasedVisibilityFlag="0"
    )
    renderer = ET.SubElement(
        ET.SubElement(root, "pipe"),
        "rasterrenderer",
        type="paletted",
        band="1",
        opacity="1",
        alphaBand="-1",
        nodataColor="",
    )
    palette = ET.SubElement(renderer, "colorPalette")
    entries = [(c.id, c.colour, c.name) for c in legend] + [(legend.none_id, NONE_COLOUR, NONE_NAME)]
    for value, colour, name in entries:
        ET.SubElement(
            palette, "paletteEntry", value=str(value), color=_hex(colour), label=xml_text(name), alpha="255"
        )
    ET.SubElement(root, "blendMode").text = "0"
    return _document(root)


def polygon_qml(legend: Legend) -> str:
    """Style of the polygons, one category per value of the field ``class_id``."""
    root = ET.Element("qgis", version=QGIS_VERSION, styleCategories="Symbology")
    renderer = ET.SubElement(
        root,
        "renderer-v2",
        type="categorizedSymbol",
        attr="class_id",
        symbollevels="0",
        forceraster="0",
        enableorderby="0",
    )
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for index, item in enumerate(legend):
        ET.SubElement(
            categories,
            "category",
            value=str(item.id),
            type="long",
            label=xml_text(item.name),
            symbol=str(index),
            render="true",
        )
        symbols.append(_fill_symbol(str(index), item))
    ET.SubElement(root, "blendMode").text = "0"
    return _document(root)


def xml_text(text: str) -> str:
    """``text`` without the characters that XML 1.0 forbids (section 2.2)."""
    return _FORBIDDEN.sub("", text)


def _fill_symbol(name: str, item: LegendClass) -> ET.Element:
    symbol = ET.Element("symbol", name=name, type="fill", alpha="1", clip_to_extent="1", force_rhr="0")
    layer = ET.SubElement(
        symbol, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"}
    )
    red, green, blue = item.colour
    darker = ",".join(str(value * 2 // 3) for value in item.colour)
    settings = {
        "color": f"{red},{green},{blue},{round(255 * FILL_OPACITY)}",
        "style": "solid",
        "outline_color": f"{darker},255",
        "outline_style": "solid",
        "outline_width": str(OUTLINE_MM),
        "outline_width_unit": "MM",
        "joinstyle": "bevel",
    }
    options = ET.SubElement(layer, "Option", type="Map")
    for key, value in settings.items():
        ET.SubElement(options, "Option", name=key, value=value, type="QString")
        ET.SubElement(layer, "prop", k=key, v=value)  # what QGIS before 3.22 reads
    return symbol


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + bytes(colour).hex()


def _document(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
