"""Whether NIfTI and MetaImage files are what they say and complete.

ITK fills up what a truncated file lacks with zeros, or complains on the terminal past Python, so
the length that a header promises is compared with what is there before ITK reads.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import TYPE_CHECKING

from napari_medsam2.errors import ReadError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check", "is_meta_header", "is_nifti"]

_GZIP = b"\x1f\x8b"
_META_BYTES = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_LONG": 4,
    "MET_ULONG": 4,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}


def is_nifti(head: bytes) -> bool:
    """Whether a file that begins with these bytes (2 KB or all) is NIfTI, compressed or not."""
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, 600)
        except zlib.error:
            return False
    return head[344:347] in (b"n+1", b"ni1") or head[4:7] in (b"n+2", b"ni2")


def is_meta_header(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a MetaImage header."""
    keys = (b"ObjectType", b"NDims", b"Comment", b"ObjectSubType")
    return head.lstrip().startswith(keys) and b"NDims" in head


def check(path: Path, kind: str) -> None:
    """Raise `ReadError` if a NIfTI or MetaImage file holds less than its header says."""
    if kind == "NIfTI":
        _check_nifti(path)
    else:
        _check_meta(path)


def _check_nifti(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(8192)
    compressed = head.startswith(_GZIP)
    if compressed:
        head = zlib.decompressobj(wbits=31).decompress(head, 600)
    _require(len(head) >= 348, "ends within its header")
    needed = _nifti_length(head)
    # A detached .hdr has its voxels elsewhere; ITK says itself if they are missing.
    if head[344:347] == b"ni1":
        return
    available = _gunzipped_length(path) if compressed else path.stat().st_size
    _require(available >= needed, _shortage(available, needed))


def _nifti_length(head: bytes) -> int:
    shape: tuple[int, ...]
    order = "<" if struct.unpack("<i", head[:4])[0] in (348, 540) else ">"
    if struct.unpack(f"{order}i", head[:4])[0] == 540:
        (bits,) = struct.unpack(f"{order}h", head[14:16])
        shape = struct.unpack(f"{order}8q", head[16:80])
        (offset,) = struct.unpack(f"{order}q", head[168:176])
    else:
        shape = struct.unpack(f"{order}8h", head[40:56])
        (bits,) = struct.unpack(f"{order}h", head[72:74])
        (offset,) = struct.unpack(f"{order}f", head[108:112])
    _require(
        0 < shape[0] < 8 and all(n > 0 for n in shape[1 : shape[0] + 1]), "has a broken header"
    )
    return int(offset) + math.prod(shape[1 : shape[0] + 1]) * int(bits) // 8


def _gunzipped_length(path: Path) -> int:
    """Decompress to the end, where the checksum is, and count."""
    length = 0
    unzip = zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            while chunk:
                if unzip.eof:
                    if not chunk.startswith(_GZIP):
                        return length
                    unzip = zlib.decompressobj(wbits=31)
                try:
                    length += len(unzip.decompress(chunk))
                except zlib.error as error:
                    raise ReadError(
                        f"its compressed data are damaged ({error}); copy or export it again"
                    ) from error
                chunk = unzip.unused_data
    _require(unzip.eof, "is truncated: its compressed data end too early")
    return length


def _check_meta(path: Path) -> None:
    header, length = _meta_header(path)
    target = header.get("ElementDataFile", "")
    channels = int(header.get("ElementNumberOfChannels", "1"))
    size = _META_BYTES.get(header.get("ElementType", "").removesuffix("_ARRAY"))
    _require(size is not None and "DimSize" in header, "has a broken header")
    needed = math.prod(int(n) for n in header["DimSize"].split()) * channels * (size or 0)
    if header.get("CompressedData", "").lower() == "true":
        needed = int(header.get("CompressedDataSize", "0"))
    if target.upper() == "LOCAL":
        available = path.stat().st_size - length
    elif target.upper().startswith("LIST") or "%" in target:
        return
    else:
        data = path.parent / target
        _require(data.is_file(), f"needs its data file {target!r} beside it, which is missing")
        available = data.stat().st_size
    _require(available >= needed, _shortage(available, needed))


def _meta_header(path: Path) -> tuple[dict[str, str], int]:
    """Return the keys of a MetaImage header and its length in bytes."""
    header: dict[str, str] = {}
    with path.open("rb") as file:
        while line := file.readline(10_000):
            key, _, value = line.decode("latin-1").partition("=")
            header[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                break
        return header, file.tell()


def _shortage(available: int, needed: int) -> str:
    return f"is truncated: {max(available, 0):,} bytes of {needed:,} are there"


def _require(good: bool, what: str) -> None:
    if not good:
        raise ReadError(f"{what}; copy or export it again")
