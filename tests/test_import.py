"""What importing the package costs."""

import subprocess
import sys

HEAVY = ("torch", "qtpy", "PyQt6", "PySide6", "napari", "SimpleITK", "timm", "skimage", "vispy")


def loaded_after(code: str) -> set[str]:
    report = f"{code}\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import napari_medsam2") == set()


def test_the_catalogue_and_prompts_load_nothing_heavy():
    code = (
        "import napari_medsam2 as nm; nm.models.list(); nm.models.get('litemedsam').path;"
        "nm.BoxPrompt(0, (1, 2, 5, 6)); nm.Volume; nm.read; nm.errors.PromptError"
    )
    assert loaded_after(code) == set()


def test_a_session_loads_torch_only_when_it_segments():
    code = (
        "import numpy as np, napari_medsam2 as nm;"
        "s = nm.Session(np.arange(300.).reshape(3, 10, 10)); s.add_box(1, (2, 2, 8, 8)); s.undo()"
    )
    assert loaded_after(code) == set()


def test_every_public_name_is_there():
    import napari_medsam2 as nm

    missing = [name for name in nm.__all__ if not hasattr(nm, name)]
    assert missing == []
    assert set(nm.__all__) <= set(dir(nm))


def test_an_unknown_name_is_an_attribute_error():
    import pytest

    import napari_medsam2 as nm

    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = nm.no_such_thing
