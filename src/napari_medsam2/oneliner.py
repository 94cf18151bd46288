"""Segmenting an image in one call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .models.catalogue import DEFAULT_MODEL
from .prompts import Prompt, PromptSet
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from .tracking.tracker import Direction
    from .volume import Volume

__all__ = ["segment"]


def segment(
    image: Volume | ArrayLike,
    prompts: PromptSet | Sequence[Prompt] | str | Path,
    model: str = DEFAULT_MODEL,
    axis: int | str = 0,
    *,
    direction: Direction = "both",
    start: int | None = None,
    stop: int | None = None,
    **options: Any,
) -> NDArray[Any]:
    """Segment an image in one call.

    Parameters
    ----------
    image : Volume or array-like
    prompts : PromptSet, sequence of prompts, or path
        A sequence belongs to object 1; a path is a prompts JSON file, whose axis then counts.
    model : str
        A name of the catalogue.
    axis : int or str
        The axis to propagate along.
    direction, start, stop
        As in `Session.propagate`.
    **options
        Further arguments of `Session`: window, device, spacing, ...

    Returns
    -------
    ndarray of unsigned int
        Labels, shaped like the volume without channels.

    Examples
    --------
    >>> import numpy as np, napari_medsam2 as nm
    >>> image = np.zeros((3, 64, 64), np.uint8); image[:, 20:40, 24:44] = 200
    >>> labels = nm.segment(image, [nm.BoxPrompt(1, (20, 24, 40, 44))])
    >>> labels.shape
    (3, 64, 64)
    """
    if isinstance(prompts, str | Path):
        from .io import read_prompts

        document = read_prompts(Path(prompts))
        prompts, axis = document.prompts, document.axis
    elif not isinstance(prompts, PromptSet):
        prompts = PromptSet().add(1, *prompts)
    session = Session(image, model=model, axis=axis, **options)
    session.set_prompts(prompts)
    for _ in session.propagate(direction, start, stop):
        pass
    return session.labels
