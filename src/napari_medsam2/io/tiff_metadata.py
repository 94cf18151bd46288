"""The size of voxels in TIFF metadata, as OME and ImageJ write it."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

__all__ = ["Spacing", "imagej_facts", "ome_facts", "stated_spacing"]

# Inches are left out: they say how large to print.
_UNITS = {
    "um": "um",
    "µm": "um",
    "μm": "um",
    "micron": "um",
    "microns": "um",
    "micrometer": "um",
    "nm": "nm",
    "nanometer": "nm",
    "mm": "mm",
    "millimeter": "mm",
    "cm": "cm",
    "m": "m",
    "\\u00b5m": "um",
    "Å": "angstrom",
    "s": "s",
    "sec": "s",
    "second": "s",
    "seconds": "s",
    "ms": "ms",
    "msec": "ms",
    "min": "min",
    "h": "hour",
    "d": "day",
}
Spacing = dict[str, tuple[float, str]]


def stated_spacing(tif: Any, series: Any) -> Spacing:
    """Return (spacing, unit) of the axes for which OME or ImageJ metadata state them."""
    if tif.is_ome and tif.ome_metadata:
        return _ome_spacing(tif.ome_metadata)
    if tif.is_imagej and tif.imagej_metadata:
        return _imagej_spacing(tif.imagej_metadata, series.keyframe.tags)
    return {}


def _ome_spacing(xml: str) -> Spacing:
    root = ElementTree.fromstring(xml)
    pixels = next((e for e in root.iter() if e.tag.endswith("}Pixels") or e.tag == "Pixels"), None)
    found: Spacing = {}
    for axis in "xyz":
        key = f"PhysicalSize{axis.upper()}"
        _state(found, axis, pixels, key, f"{key}Unit", "um")
    _state(found, "t", pixels, "TimeIncrement", "TimeIncrementUnit", "s")
    return found


def _state(found: Spacing, axis: str, pixels: Any, key: str, unit_key: str, default: str) -> None:
    value = _positive(pixels.get(key) if pixels is not None else None)
    unit = _UNITS.get(str(pixels.get(unit_key, default)).strip(), "") if value else ""
    if value and unit:
        found[axis] = (value, unit)


def _imagej_spacing(facts: dict[str, Any], tags: Any) -> Spacing:
    found: Spacing = {}
    unit = _UNITS.get(str(facts.get("unit", "")).strip().lower(), "")
    units = {a: _UNITS.get(str(facts.get(f"{a}unit", "")).strip().lower(), unit) for a in "xyz"}
    for axis, tag in (("x", "XResolution"), ("y", "YResolution")):
        if units[axis] and tag in tags:
            pixels, per = tags[tag].value
            value = _positive(per / pixels if pixels else None)
            if value:
                found[axis] = (value, units[axis])
    depth = _positive(facts.get("spacing"))
    if depth and units["z"]:
        found["z"] = (depth, units["z"])
    interval = _positive(facts.get("finterval"))
    if interval:
        found["t"] = (interval, _UNITS.get(str(facts.get("tunit", "s")).strip().lower(), "s"))
    return found


def _positive(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    # Rationals of 32 bits cannot say 0.1: twelve digits are more than they hold.
    return float(f"{number:.12g}") if math.isfinite(number) and number > 0 else 0.0


def imagej_facts(spacing: Spacing) -> dict[str, Any]:
    """Return ImageJ's metadata for the spacing of axes; x and y stand in the resolution tags."""
    facts: dict[str, Any] = {}
    lengths = {u for a, (_, u) in spacing.items() if a != "t"}
    if len(lengths) == 1:
        facts["unit"] = {"px": "pixel"}.get(*lengths, *lengths)
    if "z" in spacing:
        facts["spacing"] = spacing["z"][0]
    if "t" in spacing and spacing["t"][1] == "s":
        facts["finterval"] = spacing["t"][0]
    return facts


def ome_facts(spacing: Spacing) -> dict[str, Any]:
    """Return OME's attributes of Pixels for the spacing of axes."""
    facts: dict[str, Any] = {}
    for axis, (value, unit) in spacing.items():
        if unit == "px":
            continue
        key = "TimeIncrement" if axis == "t" else f"PhysicalSize{axis.upper()}"
        facts[key] = value
        facts[f"{key}Unit"] = {"um": "µm"}.get(unit, unit)
    return facts
