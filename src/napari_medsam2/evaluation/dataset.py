"""Data sets with truth, in the layouts in which people have them, as one list of cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_medsam2.errors import InputError, ReadError

from .datasets_case import Case
from .datasets_folders import LABEL_FOLDERS, nnunet_folder, pair_folder
from .datasets_npz import npz_folder
from .datasets_session import is_session, session_file, session_folder
from .datasets_table import json_manifest, table_manifest

if TYPE_CHECKING:
    import os
    from collections.abc import Collection

    from .datasets_case import Draft

__all__ = ["Case", "read_manifest"]

_TABLES = (".tsv", ".csv", ".txt")
_MANIFESTS = ("manifest.tsv", "manifest.csv", "manifest.json", "cases.tsv")


def read_manifest(
    path: str | os.PathLike[str],
    *,
    splits: Collection[str] | None = None,
    datasets: Collection[str] | None = None,
    limit: int | None = None,
) -> list[Case]:
    """List the cases of a data set.

    Images are read when a case is loaded. Label files are read now, once, where nothing else says
    which objects there are.

    Parameters
    ----------
    path : path-like
        One of

        - a manifest: a .tsv, .csv or .json file; see `datasets_table`;
        - a folder with manifest.tsv, manifest.csv, manifest.json or cases.tsv;
        - an nnU-Net or Decathlon data set: dataset.json, imagesTr/, labelsTr/;
        - a folder with images/ and labels/ (or masks/) of equal names;
        - a saved session (.medsam2.json), or a folder of them: frames with a prompt and a mask
          count as truth, see `datasets_session`;
        - a folder of .npz files, as MedSAM prepares them (imgs, gts, spacing) or with image,
          labels, spacing and meta.
    splits, datasets : collection of str, optional
        Keep only the cases of these.
    limit : int, optional
        Keep only so many, the first.

    Returns
    -------
    list of Case
        In the order of the manifest, or of the file names.

    Raises
    ------
    ReadError
        With file, line and column (or the place in a JSON), for what cannot be understood, a file
        that is missing, a path that leads out of the folder, or a case that comes twice.
    InputError
        For a split or data set that no case has, or a limit below 1.
    """
    path = Path(path)
    if limit is not None and limit < 1:
        raise InputError(f"the limit is the number of cases, at least 1, not {limit}")
    drafts = _drafts(path)
    if not drafts:
        raise ReadError(f"{path}: lists no case")
    drafts = _kept(drafts, "split", splits)
    drafts = _kept(drafts, "dataset", datasets)
    cases: dict[str, Case] = {}
    for draft in drafts[:limit]:
        case = draft.build()
        if case.id in cases:
            raise ReadError(f"{path}: the case {case.id!r} comes twice; give each a name in 'case'")
        cases[case.id] = case
    return list(cases.values())


def _drafts(path: Path) -> list[Draft]:
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise ReadError(f"{path}: there is no such file or folder")
    suffix = path.suffix.lower()
    if suffix in _TABLES:
        return table_manifest(path)
    if suffix != ".json":
        raise ReadError(f"{path.name}: a manifest is a .tsv, .csv or .json file, or a folder")
    if path.name == "dataset.json" and any(path.parent.glob("labelsT[rs]")):
        return nnunet_folder(path.parent)
    return session_file(path) if is_session(path) else json_manifest(path)


def _of_folder(folder: Path) -> list[Draft]:
    for name in _MANIFESTS:
        if (folder / name).is_file():
            return _drafts(folder / name)
    if (folder / "dataset.json").is_file():
        return nnunet_folder(folder)
    if (folder / "images").is_dir() and any((folder / name).is_dir() for name in LABEL_FOLDERS):
        return pair_folder(folder)
    drafts = session_folder(folder) or npz_folder(folder)
    if not drafts:
        raise ReadError(
            f"{folder}: is no data set; it needs a manifest ({', '.join(_MANIFESTS)}), "
            "dataset.json with imagesTr and labelsTr, images and labels (or masks), saved sessions "
            "(.medsam2.json), or .npz files"
        )
    return drafts


def _kept(drafts: list[Draft], what: str, wanted: Collection[str] | None) -> list[Draft]:
    """Keep the drafts of the wanted splits or data sets, every one of which must be there."""
    if wanted is None:
        return drafts
    wanted = {wanted} if isinstance(wanted, str) else set(wanted)
    known = {getattr(draft, what) for draft in drafts}
    if wanted - known:
        there = ", ".join(sorted(filter(None, known))) or "none"
        raise InputError(f"no case is of the {what} {min(wanted - known)!r}; there are: {there}")
    return [draft for draft in drafts if getattr(draft, what) in wanted]
