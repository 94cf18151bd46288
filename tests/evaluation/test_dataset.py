"""Data sets in every layout become the same cases, and what is wrong with them is said where."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image

from napari_medsam2.errors import InputError, ReadError
from napari_medsam2.evaluation.dataset import Case, read_manifest

LABELS = np.zeros((4, 6, 5), dtype=np.uint8)
LABELS[1:3, 1:4, 1:3] = 1
LABELS[2, 4:, 3:] = 3
IMAGE = (LABELS * 50 + np.arange(5, dtype=np.uint8)).astype(np.int16)


def nifti(path: Path, array: Any, spacing: tuple[float, ...] = (5.0, 0.8, 0.7)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1][: array.ndim])
    SimpleITK.WriteImage(image, str(path))
    return path


def pair(folder: Path, name: str = "a.nii.gz") -> tuple[Path, Path]:
    return nifti(folder / "images" / name, IMAGE), nifti(folder / "labels" / name, LABELS)


def table(folder: Path, text: str, name: str = "manifest.tsv") -> Path:
    path = folder / name
    path.write_text(text.replace("|", "\t"), encoding="utf-8")
    return path


def check_volume(case: Case) -> None:
    volume, labels = case.load()
    assert volume.axes == "zyx"
    assert volume.spacing == pytest.approx((5.0, 0.8, 0.7))
    assert set(volume.units) == {"mm"}
    np.testing.assert_array_equal(np.asarray(volume.data), IMAGE)
    np.testing.assert_array_equal(labels, LABELS)


# --- manifests ---


def test_a_table_states_all(tmp_path: Path) -> None:
    pair(tmp_path)
    path = table(
        tmp_path,
        "image|labels|objects|labelled_frames|modality|kind|spacing|split|dataset|case\n"
        "images/a.nii.gz|labels/a.nii.gz|1:liver, left lobe,3:spleen|0,2-3|CT|3d|"
        "4,0.5,0.25 um|val|own|first\n\n",
    )
    (case,) = read_manifest(path)
    assert (case.id, case.dataset, case.modality, case.kind, case.split) == (
        "own/first",
        "own",
        "CT",
        "3d",
        "val",
    )
    assert case.objects == {1: "liver, left lobe", 3: "spleen"}
    assert case.labelled(1, 4) == (0, 2, 3)
    assert case.unit == "um"
    assert [p.name for p in case.files] == ["a.nii.gz", "a.nii.gz"]
    volume, _ = case.load()
    assert volume.spacing == (4.0, 0.5, 0.25)
    assert set(volume.units) == {"um"}


def test_a_table_needs_no_more_than_two_columns(tmp_path: Path) -> None:
    pair(tmp_path)
    (case,) = read_manifest(
        table(tmp_path, "image,labels\nimages/a.nii.gz,labels/a.nii.gz\n", "m.csv")
    )
    assert (case.id, case.kind, case.unit) == (f"{tmp_path.name}/a", "3d", "mm")
    assert case.objects == {1: "", 3: ""}
    assert case.labelled(3, 4) == (0, 1, 2, 3)
    check_volume(case)


def test_json_says_the_same(tmp_path: Path) -> None:
    image, labels = pair(tmp_path)
    entry = {
        "image": str(image),
        "labels": "labels/a.nii.gz",
        "objects": {"3": "spleen"},
        "labelled_frames": [2, 3],
        "spacing": [4, 0.5, 0.25],
    }
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"version": 1, "cases": [entry]}))
    (case,) = read_manifest(tmp_path)
    assert case.objects == {3: "spleen"}
    assert case.labelled(3, 4) == (2, 3)
    assert case.files == (image, labels)
    assert case.load()[0].spacing == (4.0, 0.5, 0.25)


def test_cases_go_to_other_processes(tmp_path: Path) -> None:
    pair(tmp_path)
    (case,) = read_manifest(table(tmp_path, "image|labels\nimages/a.nii.gz|labels/a.nii.gz"))
    check_volume(pickle.loads(pickle.dumps(case)))


def test_images_are_read_late(tmp_path: Path) -> None:
    image, _ = pair(tmp_path)
    (case,) = read_manifest(tmp_path)
    image.unlink()
    with pytest.raises(ReadError, match=r"a\.nii\.gz: there is no such file"):
        case.load()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../a.nii.gz|labels/a.nii.gz|||", r"line 2, column 'image': '\.\./a\.nii\.gz' leads out"),
        (r"images\..\..\a.nii|labels/a.nii.gz|||", "column 'image': .* leads out of the folder"),
        ("images/a.nii.gz|labels/../../b|||", "line 2, column 'labels': .* leads out"),
        ("images/b.nii.gz|labels/a.nii.gz|||", "line 2, column 'image': there is no file"),
        ("images/a.nii.gz||||", "line 2, column 'labels': a case has either"),
        ("images/a.nii.gz|labels/a.nii.gz|liver||", "column 'objects': must be different label"),
        ("images/a.nii.gz|labels/a.nii.gz|0:air||", "column 'objects': must be different label"),
        ("images/a.nii.gz|labels/a.nii.gz|1,1||", "column 'objects': must be different label"),
        ("images/a.nii.gz|labels/a.nii.gz||4d|", "column 'kind': must be one of 2d, 3d, video"),
        ("images/a.nii.gz|labels/a.nii.gz|||1,0,1 mm", "column 'spacing': must be"),
        ("images/a.nii.gz|labels/a.nii.gz|||5,1,1 miles", "column 'spacing': must be"),
        ("images/a.nii.gz|labels/a.nii.gz||", "line 2: has 4 columns, the header 5"),
        ("labels/bad.nii.gz|labels/bad.nii.gz|||", "line 2, column 'image': bad"),
    ],
)
def test_a_mistake_in_a_table_is_named_by_its_place(tmp_path: Path, row: str, message: str) -> None:
    pair(tmp_path)
    (tmp_path / "labels" / "bad.nii.gz").write_bytes(b"nothing")
    path = table(tmp_path, f"image|labels|objects|kind|spacing\n{row}\n")
    with pytest.raises(ReadError, match=f"^manifest.tsv: .*{message}"):
        read_manifest(path)


def test_columns_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="line 1: unknown column 'modalty', did you mean 'modality"):
        read_manifest(table(tmp_path, "image|labels|modalty\n"))
    with pytest.raises(ReadError, match="line 1: needs the columns image and labels, or path"):
        read_manifest(table(tmp_path, "image|kind\n"))
    with pytest.raises(ReadError, match="the column 'image' comes twice"):
        read_manifest(table(tmp_path, "image|labels|image\n"))
    with pytest.raises(ReadError, match="is empty"):
        read_manifest(table(tmp_path, "\n"))
    with pytest.raises(ReadError, match="lists no case"):
        read_manifest(table(tmp_path, "image|labels\n"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labelled_frames": [3, -1]}, r"cases\[0\], 'labelled_frames': must be frames"),
        ({"objects": ["liver"]}, r"cases\[0\], 'objects': must be different"),
        ({"image": 3}, r"cases\[0\], 'image': must be text"),
        ({"image": "../x"}, r"cases\[0\], 'image': .* leads out"),
        ({"modalty": "CT"}, r"cases\[0\]\.modalty: unknown key, did you mean 'modality'"),
    ],
)
def test_a_mistake_in_json_is_named_by_its_place(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    pair(tmp_path)
    entry = {"image": "images/a.nii.gz", "labels": "labels/a.nii.gz", **changes}
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"version": 1, "cases": [entry]}))
    with pytest.raises(ReadError, match=f"m.json: {message}"):
        read_manifest(path)


def test_a_case_comes_once(tmp_path: Path) -> None:
    pair(tmp_path)
    row = "images/a.nii.gz|labels/a.nii.gz\n"
    with pytest.raises(ReadError, match="/a' comes twice"):
        read_manifest(table(tmp_path, "image|labels\n" + row * 2))


def test_labels_of_another_shape_are_refused(tmp_path: Path) -> None:
    pair(tmp_path)
    nifti(tmp_path / "labels" / "a.nii.gz", LABELS[:, :-1])
    (case,) = read_manifest(tmp_path)
    with pytest.raises(ReadError, match=r"a\.nii\.gz: the labels have shape \(4, 5, 5\)"):
        case.load()


def test_choosing_cases(tmp_path: Path) -> None:
    rows = ""
    for name, split, dataset in (("a", "train", "x"), ("b", "val", "x"), ("c", "val", "y")):
        pair(tmp_path, f"{name}.nii.gz")
        rows += f"images/{name}.nii.gz|labels/{name}.nii.gz|{split}|{dataset}\n"
    # What is left out is not even looked for.
    path = table(tmp_path, "image|labels|split|dataset\n" + rows + "no|no|test|z\n")
    assert [c.id for c in read_manifest(path, splits=["val"])] == ["x/b", "y/c"]
    assert [c.id for c in read_manifest(path, datasets=["x"], splits=["val"])] == ["x/b"]
    assert [c.id for c in read_manifest(path, limit=2)] == ["x/a", "x/b"]
    with pytest.raises(InputError, match="no case is of the split 'vall'; there are: test, train"):
        read_manifest(path, splits=["vall"])
    with pytest.raises(InputError, match="at least 1"):
        read_manifest(path, limit=0)


# --- npz ---


def own_npz(path: Path, **meta: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"axes": "ZYX", "spacing_unit": "mm", "kind": "3d", "evaluate": [3], **meta}
    np.savez_compressed(
        path,
        image=IMAGE.astype(np.float16),
        labels=LABELS,
        spacing=np.array([5, 0.8, 0.7]),
        meta=np.array(json.dumps(facts)),
    )
    return path


def test_npz_cases_by_table(tmp_path: Path) -> None:
    own_npz(
        tmp_path / "set" / "one.npz",
        label_names={"1": "liver", "3": "spleen"},
        labelled_frames=[1, 2],
        labelled_frames_by_label={"3": [2]},
    )
    table(
        tmp_path,
        "dataset|case|path|modality|kind|shape|spacing|evaluate|n_labelled_frames|split|licence\n"
        "set|one|set/one.npz|MR|3d|4x6x5|5,0.8,0.7 mm|1:liver,3:spleen|2|val|CC0\n",
        "cases.tsv",
    )
    (case,) = read_manifest(tmp_path)
    assert (case.id, case.modality, case.split, case.unit) == ("set/one", "MR", "val", "mm")
    assert case.objects == {1: "liver", 3: "spleen"}
    assert case.labelled(1, 4) == (1, 2)
    assert case.labelled(3, 4) == (2,)
    assert case.load()[0].dtype == np.float32
    check_volume(case)
    with pytest.raises(InputError, match="labelled frames 1 to 2"):
        case.labelled(1, 2)


def test_npz_cases_of_a_folder_speak_for_themselves(tmp_path: Path) -> None:
    own_npz(tmp_path / "one.npz", dataset="set", split="val", label_names={"3": "spleen"})
    own_npz(tmp_path / "two.npz", dataset="set", split="train")
    (case,) = read_manifest(tmp_path, splits=["val"], datasets=["set"])
    assert (case.id, case.split, case.objects) == ("set/one", "val", {3: "spleen"})


@pytest.mark.parametrize("spacing", [(0.7, 0.7, 5.0), (5.0, 0.7, 0.7)])
def test_medsam_volumes(tmp_path: Path, spacing: tuple[float, ...]) -> None:
    path = tmp_path / "3DBox_CT_Abd_001.npz"
    np.savez_compressed(path, imgs=IMAGE.astype(np.uint8), gts=LABELS, spacing=spacing)
    (case,) = read_manifest(tmp_path)
    assert (case.kind, case.modality, case.objects) == ("3d", "CT", {1: "", 3: ""})
    volume, labels = case.load()
    # SimpleITK's order, which is written, or the array's, which some have made of it.
    assert volume.spacing == (5.0, 0.7, 0.7)
    np.testing.assert_array_equal(labels, LABELS)


def test_medsam_images_and_videos(tmp_path: Path) -> None:
    colour = np.repeat(LABELS[..., np.newaxis], 3, axis=-1)
    np.savez_compressed(tmp_path / "2DUS_a.npz", imgs=colour[2], gts=LABELS[2])
    np.savez_compressed(tmp_path / "Endoscopy_b.npz", imgs=colour, gts=LABELS.astype(float))
    flat, video = read_manifest(tmp_path)
    assert (flat.kind, flat.modality, flat.unit) == ("2d", "ultrasound", "px")
    volume, labels = flat.load()
    assert (volume.axes, volume.shape, labels.shape) == ("zyxc", (1, 6, 5, 3), (1, 6, 5))
    assert (video.kind, video.modality) == ("video", "endoscopy")
    volume, labels = video.load()
    assert volume.axes == "tyxc"
    np.testing.assert_array_equal(labels, LABELS)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "a.npz", imgs=IMAGE, gts=objects)
    with pytest.raises(ReadError, match=r"a\.npz: cannot be read as npz .*allow_pickle=False"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"PK\3\4 torn", "npz"), (b"", "npz")],
)
def test_damaged_npz(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ReadError, match=rf"a\.npz: .*{message}"):
        read_manifest(tmp_path)


def test_npz_without_truth(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", imgs=IMAGE)
    with pytest.raises(ReadError, match=r"a\.npz: a case holds imgs and gts"):
        read_manifest(tmp_path)
    np.savez(tmp_path / "a.npz", image=IMAGE, labels=LABELS, meta=np.array('{"evaluate": 3}'))
    with pytest.raises(ReadError, match=r"a\.npz: meta\.evaluate must be a list"):
        read_manifest(tmp_path)


# --- folders ---


def dataset_json(folder: Path, **facts: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(facts))


def test_nnunet(tmp_path: Path) -> None:
    folder = tmp_path / "Dataset001_Organs"
    dataset_json(
        folder,
        channel_names={"0": "CT", "1": "PET"},
        labels={"background": 0, "liver": 1, "kidney": 2, "both": [1, 2], "ignore": 3},
        numTraining=1,
        file_ending=".nii.gz",
    )
    nifti(folder / "imagesTr" / "a_0000.nii.gz", IMAGE)
    nifti(folder / "imagesTr" / "a_0001.nii.gz", IMAGE * 2)
    nifti(folder / "labelsTr" / "a.nii.gz", LABELS)
    (folder / "labelsTr" / "._a.nii.gz").write_bytes(b"left by a file browser")
    (case,) = read_manifest(folder)
    assert (case.id, case.modality, case.split) == ("Dataset001_Organs/a", "CT", "train")
    # 2 is not in this case, 3 is to be ignored.
    assert case.objects == {1: "liver"}
    check_volume(case)


def test_decathlon(tmp_path: Path) -> None:
    dataset_json(
        tmp_path,
        name="Spleen",
        modality={"0": "MRI"},
        labels={"0": "background", "1": "liver", "3": "spleen"},
    )
    for ending in ("Tr", "Ts"):
        nifti(tmp_path / f"images{ending}" / f"{ending}_1.nii.gz", IMAGE)
        nifti(tmp_path / f"labels{ending}" / f"{ending}_1.nii.gz", LABELS)
    (case,) = read_manifest(tmp_path / "dataset.json", splits=["test"])
    assert (case.id, case.modality) == ("Spleen/Ts_1", "MRI")
    assert case.objects == {1: "liver", 3: "spleen"}
    check_volume(case)


def test_dataset_json_without_labels(tmp_path: Path) -> None:
    dataset_json(tmp_path, labels=["liver"])
    with pytest.raises(ReadError, match=r"dataset\.json: labels: must be an object"):
        read_manifest(tmp_path)


def test_pairs_of_tiff_and_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(
        tmp_path / "images" / "movie.tif", IMAGE.astype(np.uint16), imagej=True,
        metadata={"axes": "TYX"},
    )  # fmt: skip
    tifffile.imwrite(tmp_path / "masks" / "movie.tif", LABELS, photometric="minisblack")
    Image.fromarray(np.repeat(LABELS[2, ..., np.newaxis], 3, axis=-1)).save(
        tmp_path / "images" / "photo.png"
    )
    Image.fromarray((LABELS[2] == 3).astype(np.uint8) * 255).save(tmp_path / "masks" / "photo.png")
    movie, photo = read_manifest(tmp_path)
    assert (movie.kind, photo.kind) == ("video", "2d")
    assert movie.load()[0].axes == "tyx"
    assert photo.objects == {255: ""}
    volume, labels = photo.load()
    assert (volume.shape, volume.axes, labels.shape) == ((1, 6, 5, 3), "zyxc", (1, 6, 5))


def test_pairs_without_counterpart(tmp_path: Path) -> None:
    pair(tmp_path)
    extra = nifti(tmp_path / "images" / "b.nii.gz", IMAGE)
    with pytest.raises(ReadError, match=r"b\.nii\.gz: has no counterpart in .*labels"):
        read_manifest(tmp_path)
    extra.unlink()
    nifti(tmp_path / "labels" / "c.nii.gz", LABELS)
    with pytest.raises(ReadError, match=r"c\.nii\.gz: has no counterpart in .*images"):
        read_manifest(tmp_path)


def test_what_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="is no data set; it needs a manifest"):
        read_manifest(tmp_path)
    with pytest.raises(ReadError, match="there is no such file or folder"):
        read_manifest(tmp_path / "none.tsv")
    (tmp_path / "a.yaml").write_text("")
    with pytest.raises(ReadError, match=r"a manifest is a \.tsv, \.csv or \.json file"):
        read_manifest(tmp_path / "a.yaml")


# --- real cases ---


@pytest.fixture(scope="session")
def real() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not (folder / "cases.tsv").is_file():
        pytest.skip("shared data absent")
    return folder


def test_all_real_cases_are_listed(real: Path) -> None:
    cases = read_manifest(real / "cases.tsv")
    assert len(cases) == len({case.id for case in cases}) == 261
    assert {case.kind for case in cases} == {"2d", "3d", "video"}
    assert {case.split for case in cases} == {"train", "val", "fixture"}
    assert all(case.objects and all(case.objects.values()) for case in cases)


def test_one_real_case_of_each_data_set(real: Path) -> None:
    first: dict[str, Case] = {}
    for case in read_manifest(real, splits=["val", "fixture"]):
        first.setdefault(case.dataset, case)
    for case in first.values():
        volume, labels = case.load()
        assert labels.shape == volume.label_shape
        assert volume.label_axes == ("tyx" if case.kind == "video" else "zyx")
        assert case.kind != "2d" or len(labels) == 1
        assert case.unit in volume.units
        frames = labels[list(case.labelled(min(case.objects), len(labels)))]
        assert set(case.objects) <= set(np.unique(frames).tolist())
        assert volume.dtype != np.float16
