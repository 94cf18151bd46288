"""Clips with their embeddings on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from tests.training.common import TinySegmenter, case, disc_case, flat_case, stopping

from napari_medsam2.errors import InputError
from napari_medsam2.training.clips import Clip, made_up_clips, plan_clips
from napari_medsam2.training.embedded import EmbeddedClips, embed_clips, shown, square_labels

if TYPE_CHECKING:
    from pathlib import Path

CASES = [disc_case("a", 0, n=9), disc_case("b", 1, n=9), flat_case("flat", 2, dataset="flats")]
KNOWN = {c.id: c for c in CASES}


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    found = [*plan_clips(CASES, 40), *made_up_clips(1)]
    assert {c.case for c in found} == {"discs/a", "discs/b", "flats/flat", ""}
    assert any(c.warps for c in found)
    return found


@pytest.fixture(scope="module")
def embedded(
    clips: list[Clip], tmp_path_factory: pytest.TempPathFactory
) -> tuple[EmbeddedClips, Path]:
    folder = tmp_path_factory.mktemp("embedded")
    return embed_clips(clips, CASES, TinySegmenter(), folder), folder


def same(one: EmbeddedClips, other: EmbeddedClips) -> bool:
    return (
        one.clips == other.clips
        and one.key == other.key
        and np.array_equal(one.features, other.features)
        and np.array_equal(one.labels, other.labels)
    )


# Showing


def test_a_clip_is_shown_as_it_is_or_otherwise() -> None:
    frames, labels, objects = shown(Clip("discs/a", 0, (2, 3, 4), (1,)), KNOWN)
    image, truth = CASES[0].load()
    assert objects == (1,)
    np.testing.assert_array_equal(labels, truth[2:5])
    # Darkest and brightest are 0 and 255; between them nothing is bent.
    raw = np.asarray(image.data[2:5], dtype=float).ravel()
    inside = (np.stack(frames).ravel() > 0) & (np.stack(frames).ravel() < 255)
    assert np.corrcoef(raw[inside], np.stack(frames).ravel()[inside])[0, 1] > 0.9999
    other, moved, _ = shown(Clip("discs/a", 0, (2, 3, 4), (1,), variant=1), KNOWN)
    assert other[0].shape == moved.shape[1:]
    assert not np.array_equal(other[0], frames[0])
    again, _, _ = shown(Clip("discs/a", 0, (2, 3, 4), (1,), variant=1), KNOWN)
    np.testing.assert_array_equal(again[1], other[1])


def test_only_what_is_learnt_is_labelled_from_one_on() -> None:
    labels = np.zeros((2, 20, 20), np.uint16)
    labels[:, 2:6, 2:6], labels[:, 8:12, 8:12], labels[:, 14:18, 14:18] = 300, 20, 7
    one = case("x", labels.astype(np.uint8), labels)
    _, found, objects = shown(Clip(one.id, 0, (0, 1), (7, 300)), {one.id: one})
    assert objects == (1, 2)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, (labels == 7) + 2 * (labels == 300))


def test_other_axes_are_those_of_the_labels() -> None:
    labels = np.zeros((10, 20, 30), np.uint8)
    labels[2:8, 5:15, 10:25] = 1
    one = case("x", labels * 200, labels, spacing=(1.0, 1.0, 1.0))
    for axis, shape in ((0, (20, 30)), (1, (10, 30)), (2, (10, 20))):
        frames, found, _ = shown(Clip(one.id, axis, (12 if axis else 5,), (1,)), {one.id: one})
        assert frames[0].shape == found.shape[1:] == shape
        np.testing.assert_array_equal(frames[0] > 127, found[0] == 1)


def test_a_flat_image_becomes_a_clip() -> None:
    frames, labels, _ = shown(Clip("flats/flat", 0, (0,), (1,), variant=1, warps=4), KNOWN)
    assert len(frames) == len(labels) == 4
    assert not np.array_equal(frames[0], frames[3])


def test_a_made_up_clip_needs_no_case() -> None:
    frames, labels, objects = shown(made_up_clips(1)[0], {})
    assert len(frames) == len(labels) == 8
    assert objects == tuple(np.unique(labels)[1:])


def test_labels_fill_the_square_from_its_corner() -> None:
    labels = np.zeros((64, 128), np.uint8)
    labels[16:32, 64:96] = 5
    square = square_labels(labels)
    assert square.shape == (256, 256)
    wanted = np.zeros((256, 256), np.uint8)
    wanted[32:64, 128:192] = 5
    np.testing.assert_array_equal(square, wanted)


# Embedding


def test_features_are_those_of_the_model(
    embedded: tuple[EmbeddedClips, Path], clips: list[Clip]
) -> None:
    found, _ = embedded
    model = TinySegmenter()
    assert len(found.clips) == len(clips)
    row = 0
    for clip, one in zip(clips, found.clips, strict=True):
        frames, labels, objects = shown(clip, KNOWN)
        assert (one.start, one.stop) == (row, row + len(frames))
        assert one.objects == objects
        assert one.dataset == (KNOWN[clip.case].dataset if clip.case else "made up")
        for frame, plane in zip(frames, labels, strict=True):
            features = model.embed(frame).features.half()
            assert torch.equal(found.of([row])[0], features)
            np.testing.assert_array_equal(found.labels[row], square_labels(plane))
            row += 1
    assert row == len(found.features) == len(found.labels)


def test_what_is_there_is_taken(embedded: tuple[EmbeddedClips, Path], clips: list[Clip]) -> None:
    found, folder = embedded
    model = TinySegmenter()
    assert same(embed_clips(clips, CASES, model, folder), found)
    assert model.embedded == []
    assert not (folder / "parts").exists()


@pytest.mark.parametrize("after", [0, 25])
def test_an_interrupted_run_goes_on(
    after: int, embedded: tuple[EmbeddedClips, Path], clips: list[Clip], tmp_path: Path
) -> None:
    whole, _ = embedded
    first = stopping(TinySegmenter(), after)
    with pytest.raises(KeyboardInterrupt):
        embed_clips(clips, CASES, first, tmp_path)
    then = TinySegmenter()
    told: list[tuple[int, int]] = []
    found = embed_clips(clips, CASES, then, tmp_path, lambda n, total: told.append((n, total)))
    assert same(found, whole)
    # Only the clip that was cut off is embedded again.
    total = len(whole.features)
    assert total - after <= len(then.embedded) < total - after + 8
    assert told == [(n + 1, len(clips)) for n in range(len(clips))]


def test_a_folder_of_other_clips_is_refused(
    embedded: tuple[EmbeddedClips, Path], clips: list[Clip]
) -> None:
    _, folder = embedded
    with pytest.raises(InputError, match="holds the embeddings of other clips or another encoder"):
        embed_clips(clips[:-1], CASES, TinySegmenter(), folder)
    with pytest.raises(InputError, match="choose another folder, or delete it"):
        embed_clips(clips, CASES, TinySegmenter(key="tiny-2"), folder)


def test_a_folder_that_was_begun_with_other_clips_is_refused(
    clips: list[Clip], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        embed_clips(clips, CASES, stopping(TinySegmenter(), 9), tmp_path)
    with pytest.raises(InputError, match="was begun with other clips"):
        embed_clips(clips[::-1], CASES, TinySegmenter(), tmp_path)


def test_no_clips_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no clips"):
        embed_clips([], CASES, TinySegmenter(), tmp_path)
