"""What kind of file it is: by its first bytes, and by its suffix where they say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_medsam2.errors import ReadError

from . import dicom, integrity

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["READABLE", "sniff", "suffix_of"]

READABLE = (
    "NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd), DICOM (a file or the "
    "folder of a series), TIFF (.tif, .tiff), .npy, .npz, PNG, JPEG, BMP, GIF"
)

_DOUBLE_SUFFIXES = (".nii.gz", ".ome.tif", ".ome.tiff")
_BY_SUFFIX = {
    ".nii": "NIfTI",
    ".nii.gz": "NIfTI",
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
    ".dcm": "DICOM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ome.tif": "TIFF",
    ".ome.tiff": "TIFF",
    ".npy": "npy",
    ".npz": "npz",
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".gif": "GIF",
}
_MAGIC = (
    (b"NRRD", "NRRD"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "npz"),
    (b"PK\x05\x06", "npz"),
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
)


def suffix_of(path: Path) -> str:
    """Return the suffix in lower case, both parts of ``.nii.gz`` and ``.ome.tif``."""
    name = path.name.lower()
    for double in _DOUBLE_SUFFIXES:
        if name.endswith(double):
            return double
    return path.suffix.lower()


def sniff(path: Path) -> str:
    """Return the kind of a file, by its first bytes and then by its suffix.

    Raises
    ------
    ReadError
        If neither says anything.
    """
    try:
        with path.open("rb") as file:
            head = file.read(2048)
    except OSError as error:
        raise ReadError(f"{path.name}: cannot be opened ({error.strerror})") from error
    if not head:
        raise ReadError(f"{path.name}: the file is empty (0 bytes); copy or export it again")
    # First, because the 128 bytes before it may hold a TIFF header for other programs.
    if head[128:132] == b"DICM":
        return "DICOM"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if integrity.is_nifti(head):
        return "NIfTI"
    if integrity.is_meta_header(head):
        return "MetaImage"
    by_suffix = _BY_SUFFIX.get(suffix_of(path))
    if by_suffix == "DICOM" or dicom.is_headless(path):
        return "DICOM"
    if by_suffix is not None:
        found = "text" if _is_text(head) else "something else"
        raise ReadError(
            f"{path.name}: is named like {by_suffix} but holds {found}; check where it comes from"
        )
    raise ReadError(f"{path.name}: is no image of a known kind; readable are {READABLE}")


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and b"\0" not in head
    return b"\0" not in head
