"""The masks of a prompts file: collected by content on writing, loaded by name on reading."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from .atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_medsam2.errors import ReadError

__all__ = ["MaskFile"]


class MaskFile:
    """The masks beside a JSON file.

    On writing, `add` keeps each different mask once and `write` puts them in ``<stem>.masks.npz``.
    On reading, `load` opens files of the folder of the JSON file and of no other place.

    Parameters
    ----------
    path : Path
        The JSON file.
    token : str
        Makes the name on writing ``<stem>.masks-<token>.npz``, so that it replaces no other file.
    """

    def __init__(self, path: Path, token: str = "") -> None:
        self._folder = path.parent
        self._name = f"{path.stem}.masks{'-' if token else ''}{token}.npz"
        self._masks: dict[str, NDArray[np.bool_]] = {}
        self._keys: dict[bytes, str] = {}
        self._loaded: dict[str, dict[str, NDArray[Any]]] = {}
        self.document = path.name

    @property
    def path(self) -> Path:
        """Where the masks are written."""
        return self._folder / self._name

    def add(self, mask: NDArray[np.bool_]) -> tuple[str, str]:
        """Keep a 2D mask, once if it came before, and return its (file, key)."""
        mask = np.ascontiguousarray(mask, dtype=bool)
        digest = sha256(repr(mask.shape).encode() + mask.tobytes()).digest()
        key = self._keys.setdefault(digest, f"m{len(self._keys)}")
        self._masks.setdefault(key, mask)
        return self._name, key

    def write(self, overwrite: bool = False) -> None:
        """Write the masks, if there are any (`WriteError` as by `atomic_path`)."""
        if self._masks:
            with atomic_path(self.path, overwrite) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **self._masks)  # type: ignore[arg-type]

    def load(
        self, file: str, key: str | None, error: Callable[[str], ReadError]
    ) -> NDArray[np.bool_]:
        """Load a mask.

        Parameters
        ----------
        file : str
            Name of an .npz file in the folder of the JSON file.
        key : str, optional
            Name of the array in it; without one, the only array or the one called "mask".
        error : callable
            Makes an error out of a sentence, with the place in the document.

        Returns
        -------
        ndarray of bool
            (y, x)

        Raises
        ------
        ReadError
        """
        if file not in self._loaded:
            self._loaded[file] = self._open(file, error)
        arrays = self._loaded[file]
        if key is None:
            key = "mask" if "mask" in arrays or len(arrays) != 1 else next(iter(arrays))
        if key not in arrays:
            raise error(f"{file} has no array {key!r}; it has {', '.join(arrays) or 'none'}")
        mask = arrays[key]
        if mask.ndim != 2 or mask.dtype.kind not in "bui":
            raise error(
                f"{file}[{key!r}] must be 2D (y, x) and of whole numbers or booleans, got "
                f"{mask.dtype} {mask.shape}"
            )
        return mask.astype(bool)

    def _open(self, file: str, error: Callable[[str], ReadError]) -> dict[str, NDArray[Any]]:
        path = self._folder / file
        # Both kinds of separators and drives, whatever system wrote the document.
        if not file or file != Path(file).name or set(file) & set("/\\:\0") or file in (".", ".."):
            raise error(f"{file!r} must be the plain name of a file in the folder of the JSON file")
        if not path.is_file():
            raise error(f"{file} is missing; it belongs beside {self.document}")
        if path.resolve().parent != self._folder.resolve():
            raise error(f"{file} is a link that leaves the folder of the JSON file")
        try:
            # Opened here, because numpy leaves a file open that turns out to be no archive.
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError, TypeError, AttributeError, EOFError, BadZipFile) as cause:
            raise error(f"{file} cannot be read as .npz ({cause})") from cause
