"""`view`: an image in napari, with the widget docked."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_medsam2.errors import InputError, MedSAM2Error

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_screen", "open_window", "start", "view"]


def view(
    image: Annotated[Path, typer.Argument(help="An image file, or the folder of a DICOM series.")],
    model: Annotated[
        str | None,
        typer.Option(help="The model to begin with: a name from `models list`, or a model folder."),
    ] = None,
) -> None:
    """Open an image in napari with the MedSAM2 widget."""
    from napari_medsam2 import models
    from napari_medsam2.io import read
    from napari_medsam2.io.layers import image_layers

    check_screen()
    card = None if model is None else models.get(model)
    volume = read(image)
    open_window(volume.name, image_layers(volume), model=None if card is None else card.name)
    start()


def check_screen() -> None:
    """Raise `InputError` where no window can appear; Qt would end the program with a core dump."""
    if not sys.platform.startswith("linux"):
        return
    # Others, such as vnc and eglfs, bring a screen of their own; offscreen has no OpenGL.
    platform = os.environ.get("QT_QPA_PLATFORM", "xcb").partition(":")[0]
    has_screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if platform in ("xcb", "wayland", "offscreen", "minimal") and not has_screen:
        raise InputError(
            "there is no display to open napari on (DISPLAY is not set); use `segment`, or run "
            "under xvfb-run or a remote desktop"
        )


def open_window(
    title: str, layers: Sequence[tuple[Any, dict[str, Any], str]], *, model: str | None = None
) -> Any:
    """Open a napari window with layers and the widget, and return the viewer.

    Parameters
    ----------
    title : str
    layers : sequence of (data, dict, type)
    model : str, optional
        The model to begin with, in place of the default.

    Raises
    ------
    MedSAM2Error
        If napari has no Qt to draw with.
    """
    try:
        import napari

        viewer = napari.Viewer(title=f"{title} - MedSAM2")
    except ImportError as error:
        reason = str(error).strip().splitlines()
        raise MedSAM2Error(
            "napari cannot open a window here; pip install 'napari-medsam2[all]' brings the Qt "
            f"that it needs ({reason[0] if reason else 'no Qt binding'})"
        ) from error
    for data, kwargs, kind in layers:
        viewer.add_layer(napari.layers.Layer.create(data, kwargs, kind))
    _, widget = viewer.window.add_plugin_dock_widget("napari-medsam2", "MedSAM2")
    if model is not None:
        widget.controller.bench.configure(model=model)
    return viewer


def start() -> None:
    """Hand over to napari until its last window is closed."""
    import napari

    napari.run()
