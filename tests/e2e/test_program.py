"""The installed program on real files, as a user runs it."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
from tests.own_models import few_bytes

import napari_medsam2 as nm
from napari_medsam2.io import PromptDocument, write_prompts

BOX = "2,15,25,46,56"
BOX_VALUES = (15, 25, 46, 56)
# Oblique and flipped, with voxels of 0.8 x 0.9 x 2.5 mm: nothing that a writer could guess.
_TURN = sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3)
AFFINE = np.eye(4)
AFFINE[:3, :3] = np.reshape(_TURN.GetMatrix(), (3, 3)) * (-0.8, 0.9, 2.5)
AFFINE[:3, 3] = (31.0, -42.0, 7.0)


def program() -> str:
    beside = Path(sys.executable).with_name("napari-medsam2")
    found = str(beside) if beside.exists() else shutil.which("napari-medsam2")
    if found is None:
        pytest.fail("the program napari-medsam2 is not installed")
    return found


def run(*args: object, **options: object) -> subprocess.CompletedProcess[str]:
    words = [program(), *(str(a) for a in args)]
    return subprocess.run(
        words, capture_output=True, text=True, timeout=500, check=False, **options
    )


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("napari-medsam2: ")
    return result.stderr


def phantom(n_frames: int = 5) -> np.ndarray:
    """Return a bright ball's middle in noise, (frame, y, x) int16."""
    rng = np.random.default_rng(0)
    image = rng.normal(40, 8, (n_frames, 64, 80))
    y, x = np.mgrid[:64, :80]
    for z in range(n_frames):
        image[z][(y - 30) ** 2 + (x - 40) ** 2 < (12 + z) ** 2] += 120
    return image.astype(np.int16)


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    path = tmp_path / "image.nii.gz"
    nibabel.save(nibabel.Nifti1Image(phantom().transpose(2, 1, 0), AFFINE), path)
    return path


def test_help_and_version_load_nothing_heavy():
    heavy = ("torch", "napari", "qtpy", "SimpleITK", "skimage", "scipy", "zarr")
    code = (
        "import sys\n"
        "from napari_medsam2.cli import main\n"
        "sys.argv = ['napari-medsam2', sys.argv[1]]\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"assert not set(sys.modules) & set({heavy!r}), set(sys.modules) & set({heavy!r})\n"
    )
    for option in ("--help", "--version"):
        words = [sys.executable, "-c", code, option]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "napari-medsam2" in done.stdout


def test_segment_equals_the_session_and_keeps_the_geometry(nifti: Path):
    folder = nifti.parent
    done = run(
        *("segment", nifti, "--output", folder / "labels.nii.gz", "--box", f"{BOX}@3"),
        *("--scores", folder / "scores.csv", "--measurements", folder / "measurements.csv"),
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr

    session = nm.Session(nm.read(nifti))
    session.add_box(2, BOX_VALUES, object_id=3)
    for _ in session.propagate():
        pass
    assert (session.labels == 3).sum() > 2000

    written = nibabel.load(folder / "labels.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj).transpose(2, 1, 0), session.labels)
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-4)
    image, labels = sitk.ReadImage(str(nifti)), sitk.ReadImage(str(folder / "labels.nii.gz"))
    for fact in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        expected, found = getattr(image, fact)(), getattr(labels, fact)()
        assert found == pytest.approx(expected, abs=1e-5), fact

    with (folder / "scores.csv").open(newline="") as file:
        scores = {int(r["frame"]): float(r["score"]) for r in csv.DictReader(file)}
    assert scores == pytest.approx(dict(enumerate(session.scores[3])), abs=1e-5)
    with (folder / "measurements.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    voxel = abs(np.linalg.det(AFFINE[:3, :3]))
    assert float(row["size"]) == pytest.approx((session.labels == 3).sum() * voxel, rel=1e-3)
    assert row["unit"] == "mm3"
    assert f"wrote {folder / 'labels.nii.gz'}" in done.stdout


def test_segment_a_tiff_by_a_prompts_file_equals_the_one_liner(tmp_path: Path):
    tifffile.imwrite(tmp_path / "movie.tif", phantom(4), imagej=True, metadata={"axes": "TYX"})
    prompts = nm.PromptSet().add(2, nm.BoxPrompt(1, BOX_VALUES), name="ball")
    path = write_prompts(tmp_path / "p.json", PromptDocument(prompts))
    done = run("segment", "movie.tif", "--output", "out.tif", "--prompts", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = nm.segment(nm.read(tmp_path / "movie.tif"), path)
    assert (expected == 2).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), expected)


def test_clicks_alone_are_refused_by_the_model_that_needs_boxes(nifti: Path):
    point = ("--model", "litemedsam", "--point", "2,30,40,+")
    done = run("segment", nifti, "--output", nifti.parent / "o.nii.gz", *point)
    assert done.returncode == 2
    assert "LiteMedSAM needs a box" in done.stderr.splitlines()[-1]
    assert os.listdir(nifti.parent) == [nifti.name]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl+C", "SIGTERM"]
)
def test_a_signal_leaves_no_file(nifti: Path, number: signal.Signals, code: int):
    words = [program(), "segment", nifti, "--output", nifti.parent / "o.nii.gz", "--box", BOX]
    # A test run in the background may ignore SIGINT, which the program would inherit.
    child = subprocess.Popen(
        [*map(str, words), "--scores", str(nifti.parent / "s.csv")],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert child.stderr is not None
    for line in child.stderr:
        if "segmenting: 0 of 5" in line:
            child.send_signal(number)
            break
    out, err = child.communicate(timeout=120)
    assert child.returncode == code, err
    assert "Traceback" not in err
    assert "wrote" not in out
    assert os.listdir(nifti.parent) == [nifti.name]


def bad_file(folder: Path, kind: str) -> Path:
    whole = folder / "whole.nii.gz"
    nibabel.save(nibabel.Nifti1Image(phantom().transpose(2, 1, 0), AFFINE), whole)
    content, name = {
        "truncated": (whole.read_bytes()[:9000], "bad.nii.gz"),
        "empty": (b"", "bad.nii.gz"),
        "text": (b"patient,slice\n1,2\n" * 40, "bad.nii.gz"),
        "unknown": (bytes(range(256)) * 4, "bad.xyz"),
    }[kind]
    whole.unlink()
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "unknown", "missing"])
def test_a_bad_file_is_told_in_one_line(tmp_path: Path, kind: str):
    path = tmp_path / "no.nii.gz" if kind == "missing" else bad_file(tmp_path, kind)
    before = os.listdir(tmp_path)
    said = one_line(run("segment", path, "--output", tmp_path / "o.nii.gz", "--box", BOX))
    assert path.name in said
    assert os.listdir(tmp_path) == before


def test_bad_use_is_told_in_one_line_and_writes_nothing(nifti: Path):
    folder = nifti.parent
    (folder / "mine.nii.gz").write_bytes(b"mine")
    output = ("segment", nifti, "--output", folder / "o.nii.gz")
    assert "expected frame,y0,x0,y1,x1[@id]" in one_line(run(*output, "--box", "20,5,5"))
    assert "exists" in one_line(
        run("segment", nifti, "--output", folder / "mine.nii.gz", "--box", BOX)
    )
    assert "frames 0 to 4" in one_line(run(*output, "--box", "5,1,1,9,9"))
    assert sorted(os.listdir(folder)) == [nifti.name, "mine.nii.gz"]
    assert (folder / "mine.nii.gz").read_bytes() == b"mine"


def test_output_into_a_closed_pipe_ends_quietly():
    shell = f"'{program()}' models list --json | true"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_view_without_qt_says_what_to_install(nifti: Path):
    code = (
        "import sys\n"
        "for name in ('PyQt5', 'PyQt6', 'PySide2', 'PySide6'): sys.modules[name] = None\n"
        "from napari_medsam2.cli import main\n"
        f"sys.argv = ['napari-medsam2', 'view', {str(nifti)!r}]\n"
        "main()\n"
    )
    words = [sys.executable, "-c", code]
    env = {**os.environ, "DISPLAY": ":0"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=env, timeout=120)
    assert "pip install 'napari-medsam2[all]'" in one_line(done)


def test_view_opens_the_image_with_the_widget(nifti: Path, qapp: object):
    """A window of its own, closed by a timer once napari runs."""
    shown = "[layer.name for layer in viewer.layers], list(viewer.window.dock_widgets)"
    assert "['image'] ['MedSAM2 (napari-medsam2)']" in _viewed([str(nifti)], shown)


def test_view_with_a_model_of_ones_own(nifti: Path, tmp_path: Path, qapp: object):
    few_bytes(tmp_path / "livers")
    words = [str(nifti), "--model", str(tmp_path / "livers")]
    widget = "viewer.window.dock_widgets['MedSAM2 (napari-medsam2)']"
    assert str(tmp_path / "livers") in _viewed(words, f"{widget}.controller.bench.settings.model")


def _viewed(words: list[str], shown: str) -> str:
    """Return what `view` prints of its viewer before its window is closed."""
    code = (
        "import sys, napari\n"
        "from qtpy.QtCore import QTimer\n"
        "from napari_medsam2.cli import main\n"
        "def look():\n"
        "    viewer = napari.current_viewer()\n"
        f"    print({shown})\n"
        "    viewer.close()\n"
        "run = napari.run\n"
        "napari.run = lambda: (QTimer.singleShot(0, look), run())\n"
        f"sys.argv = ['napari-medsam2', 'view', *{words!r}]\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_demo(tmp_path: Path):
    done = run("demo", "--output", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    named = done.stdout.partition("wrote\n")[2].partition("try next")[0].split()
    assert len(named) == 9
    assert all(Path(name).stat().st_size > 0 for name in named)
    with (tmp_path / "demo" / "phantom_dice.csv").open(newline="") as file:
        scores = {row["name"]: float(row["dice"]) for row in csv.DictReader(file)}
    assert scores["mean"] >= 0.90
    labels = nibabel.load(tmp_path / "demo" / "phantom_labels.nii.gz")
    image = nibabel.load(tmp_path / "demo" / "phantom.nii.gz")
    np.testing.assert_allclose(labels.affine, image.affine)
    with (tmp_path / "demo" / "echo_area.csv").open(newline="") as file:
        areas = [int(row["area_px"]) for row in csv.DictReader(file)]
    assert len(areas) == 30
    assert min(areas) > 0


def test_a_whole_volume_with_a_sam_2_checkpoint(tmp_path: Path) -> None:
    """The same labels as from Python, from a SAM 2.1 tiny with random weights."""
    import torch
    from tests.tracking.reference import CONFIG_21, make_lively

    from napari_medsam2.models.sam2_config import build_network

    net = build_network(CONFIG_21, 128)
    make_lively(net)
    torch.save({"model": net.state_dict()}, tmp_path / "tiny.pt")
    image = nibabel.Nifti1Image(phantom().transpose(2, 1, 0), AFFINE)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    chosen = ("--model", "sam2.1_hiera_tiny", "--checkpoint", tmp_path / "tiny.pt")
    asked = ("--image-size", 128, "--point", "2,30,40,+@3", "--precision", "fp32")
    out = tmp_path / "labels.nii.gz"
    result = run("segment", tmp_path / "ct.nii.gz", "--output", out, *chosen, *asked)
    assert result.returncode == 0, result.stderr

    session = nm.Session(
        nm.read(tmp_path / "ct.nii.gz"),
        model="sam2.1_hiera_tiny",
        checkpoint=tmp_path / "tiny.pt",
        image_size=128,
        precision="fp32",
    )
    session.add_points(2, [(30, 40)], labels=[1], object_id=3)
    frames = [update.frame for update in session.propagate()]
    assert sorted(frames) == list(range(5))
    found = np.asarray(nibabel.load(out).dataobj).transpose(2, 1, 0)
    np.testing.assert_array_equal(found, session.labels)
    assert all((found[frame] == 3).any() for frame in range(5))


def test_a_killed_benchmark_goes_on(tmp_path: Path) -> None:
    """Killed without a chance to clean up, it loses the case that it was at and no other."""
    from tests.evaluation.common import write_cases

    names = tuple(f"case{n}" for n in range(6))
    manifest, out = write_cases(tmp_path, names), tmp_path / "out"
    asked = ("benchmark", manifest, "--output", out, "--models", "random-walker")
    words = [program(), *(str(a) for a in asked)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while len(list(out.glob("parts/[!.]*.json"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    done = {p.name: p.stat().st_mtime_ns for p in out.glob("parts/[!.]*.json")}
    assert 2 <= len(done) < 6
    result = run(*asked, "--resume")
    assert result.returncode == 0, result.stderr
    after = {p.name: p.stat().st_mtime_ns for p in out.glob("parts/[!.]*.json")}
    assert len(after) == 6
    assert {name: after[name] for name in done} == done
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert {row["case"] for row in rows} == {f"squares/{name}" for name in names}
    assert all(row["status"] == "ok" for row in rows)
