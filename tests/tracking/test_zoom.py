"""Large frames: which part of them is looked at, read, and what comes back."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tests.fakes import BrightModel

import napari_medsam2 as nm
from napari_medsam2.errors import PromptError
from napari_medsam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet
from napari_medsam2.tracking.embeddings import EmbeddingCache, FrameEncoder
from napari_medsam2.tracking.tracker import Propagation
from napari_medsam2.tracking.zoom import Zoom
from napari_medsam2.tracking.zoomed import ZoomedPropagation, segment_zoomed
from napari_medsam2.volume import Volume
from napari_medsam2.windows import Window

SIDE = 64
LARGE = 1024


class SmallInput(BrightModel):
    """Sees frames at 64 pixels a side, so that small things are lost on large ones."""

    image_size = SIDE

    def __init__(self):
        super().__init__()
        self.shapes = []

    def embed(self, frame):
        self.shapes.append(frame.shape[:2])
        return super().embed(frame)


class Recorded:
    """An array that remembers which part of a frame was read."""

    def __init__(self, array):
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype
        self.parts = []

    def __getitem__(self, key):
        part = self.array[key]
        self.parts.append(part.size)
        return part

    def __array__(self, *args, **kwargs):
        raise AssertionError("the whole array was read")


def encoder(image, model=None):
    return FrameEncoder(
        Volume(image).stack(0), Window(0, 255), model or SmallInput(), EmbeddingCache()
    )


def squares(*boxes, frames=1, shape=(LARGE, LARGE), value=200):
    image = np.zeros((frames, *shape), np.uint8)
    for y0, x0, y1, x1 in boxes:
        image[:, y0:y1, x0:x1] = value
    return image


def boxed(box, frame=0, object_id=1):
    return PromptSet().add(object_id, BoxPrompt(frame, box))


def zoomed(image, prompts, model=None, **options):
    whole = Propagation(encoder(image, model), prompts, **options)
    return ZoomedPropagation(whole, Zoom.of(whole.encoder))


def filled(updates, image):
    found = np.zeros(image.shape, bool)
    for update in updates:
        found[update.frame] |= update.full_mask(image.shape[1:])
    return found


# Which region


@pytest.mark.parametrize(
    ("shape", "large"), [((128, 128), False), ((100, 128), False), ((129, 60), True)]
)
def test_a_frame_is_large_from_twice_the_networks_input_on(shape, large):
    assert (Zoom.of(encoder(squares(shape=shape))) is not None) is large


def test_a_model_that_does_not_tell_its_input_sees_whole_frames():
    assert Zoom.of(encoder(squares(), BrightModel())) is None


def test_a_point_is_looked_at_in_the_networks_own_resolution():
    y0, x0, y1, x1 = Zoom((LARGE, LARGE), SIDE).around((500, 300, 501, 301))
    assert (y1 - y0, x1 - x0) == (SIDE, SIDE)
    assert y0 + 16 <= 500 < y1 - 16
    assert x0 + 16 <= 300 < x1 - 16


@pytest.mark.parametrize("area", [(0, 0, 3, 3), (1021, 1021, 1024, 1024), (0, 700, 40, 760)])
def test_regions_stay_on_the_frame_and_show_what_was_prompted(area):
    y0, x0, y1, x1 = Zoom((LARGE, LARGE), SIDE).around(area)
    assert 0 <= y0 <= area[0] < area[2] <= y1 <= LARGE
    assert 0 <= x0 <= area[1] < area[3] <= x1 <= LARGE


def test_an_object_is_shown_with_half_of_its_extent_around_it():
    y0, x0, y1, x1 = Zoom((LARGE, LARGE), SIDE).around((400, 400, 500, 460))
    assert y0 <= 350
    assert x0 <= 350
    assert y1 >= 550
    assert x1 >= 510


def test_prompts_that_move_a_little_keep_their_region():
    zoom = Zoom((LARGE, LARGE), SIDE)
    regions = {zoom.around((y, 300, y + 10, 310)) for y in range(500, 516)}
    assert len(regions) <= 2


def test_regions_grow_by_steps_up_to_the_whole_frame():
    zoom = Zoom((LARGE, LARGE), SIDE)
    region, sides = zoom.around((500, 500, 501, 501)), []
    while region != zoom.whole:
        sides.append(region[2] - region[0])
        region = zoom.grown(region, (500, 500, 501, 501))
    assert sides == [64, 96, 192, 384]
    assert all(1.5 <= b / a <= 2 for a, b in pairwise(sides))


def test_an_object_that_fills_the_frame_is_seen_with_the_whole_frame():
    zoom = Zoom((LARGE, LARGE), SIDE)
    assert zoom.around((100, 100, 900, 900)) == zoom.whole


def test_a_strip_is_cut_along_its_length_only():
    y0, x0, y1, x1 = Zoom((50, 5000), SIDE).around((20, 2000, 30, 2010))
    assert (y0, y1) == (0, 50)
    assert x1 - x0 == SIDE


def test_only_edges_with_frame_behind_them_cut_a_mask():
    zoom = Zoom((LARGE, LARGE), SIDE)
    assert not zoom.cuts((0, 0, 64, 64), (0, 0, 30, 30))
    assert zoom.cuts((0, 0, 64, 64), (0, 0, 64, 30))
    assert zoom.cuts((0, 32, 64, 96), (10, 32, 30, 50))
    assert not zoom.cuts((960, 960, 1024, 1024), (1000, 1000, 1024, 1024))


# One frame


def test_a_small_object_on_a_large_frame_is_found_to_the_pixel_and_only_its_region_is_read():
    image = squares((500, 300, 512, 320))
    data = Recorded(image)
    model = SmallInput()
    seen = FrameEncoder(Volume(data).stack(0), Window(0, 255), model, EmbeddingCache())
    [update] = segment_zoomed(seen, Zoom.of(seen), boxed((498, 298, 514, 322)), 0)
    assert update.bbox == (500, 300, 512, 320)
    assert update.mask.all()
    assert model.shapes == [(SIDE, SIDE)]
    assert data.parts == [SIDE * SIDE]


def test_objects_that_share_a_region_share_its_embedding():
    image = squares((500, 300, 510, 310), (500, 315, 510, 325))
    model = SmallInput()
    prompts = boxed((498, 298, 512, 312)).add(2, BoxPrompt(0, (498, 313, 512, 327)))
    seen = encoder(image, model)
    updates = segment_zoomed(seen, Zoom.of(seen), prompts, 0)
    assert [u.bbox for u in updates] == [(500, 300, 510, 310), (500, 315, 510, 325)]
    assert len(model.shapes) == 1


def test_another_object_does_not_change_what_is_found_of_the_first():
    image = squares((500, 300, 510, 310), (540, 340, 560, 360))
    seen = encoder(image)
    alone = segment_zoomed(seen, Zoom.of(seen), boxed((498, 298, 512, 312)), 0)
    both = boxed((498, 298, 512, 312)).add(2, BoxPrompt(0, (538, 338, 562, 362)))
    first, _ = segment_zoomed(seen, Zoom.of(seen), both, 0)
    assert first.bbox == alone[0].bbox
    assert first.score == alone[0].score


def test_overlaps_between_regions_go_to_the_higher_logit():
    image = squares((500, 300, 520, 320), value=150)
    image[:, 500:520, 312:320] = 250
    # The large box is seen in another region than the small one.
    prompts = boxed((498, 298, 522, 322)).add(2, BoxPrompt(0, (440, 240, 580, 314)))
    seen = encoder(image)
    one, other = segment_zoomed(seen, Zoom.of(seen), prompts, 0)
    claimed = one.full_mask(image.shape[1:]).astype(int) + other.full_mask(image.shape[1:])
    assert claimed.max() == 1
    np.testing.assert_array_equal(claimed > 0, image[0] > 127)


def test_a_frame_without_prompts_is_an_error():
    seen = encoder(squares(frames=2))
    with pytest.raises(PromptError, match="frame 1 has no prompt"):
        segment_zoomed(seen, Zoom.of(seen), boxed((10, 10, 20, 20)), 1)


class Clicked(SmallInput):
    """Returns all that is bright, and is confident where a region shows dark all around it."""

    def check(self, prompt):
        pass

    def decode(self, embedding, prompts):
        whole = [replace(p, boxes=((0, 0, *embedding.shape),)) for p in prompts]
        found = super().decode(embedding, whole)
        return [replace(f, predicted_iou=0.01) if _reaches_edge(f.mask) else f for f in found]


def _reaches_edge(mask):
    return mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()


@pytest.mark.parametrize("side", [20, 90, 300, 900])
def test_a_click_finds_objects_of_any_size(side):
    image = squares((60, 60, 60 + side, 60 + side))
    seen = encoder(image, Clicked())
    prompts = PromptSet().add(1, PointPrompt(0, ((60 + side / 2, 60 + side / 2),), (1,)))
    [update] = segment_zoomed(seen, Zoom.of(seen), prompts, 0)
    assert update.bbox == (60, 60, 60 + side, 60 + side)


def test_far_negative_clicks_do_not_widen_the_region():
    image = squares((60, 60, 80, 80))
    model = Clicked()
    seen = encoder(image, model)
    points = PointPrompt(0, ((70, 70), (1000, 1000)), (1, 0))
    [update] = segment_zoomed(seen, Zoom.of(seen), PromptSet().add(1, points), 0)
    assert update.bbox == (60, 60, 80, 80)
    assert model.shapes == [(SIDE, SIDE)]


class Close(Clicked):
    """Is confident where things look large alone."""

    def decode(self, embedding, prompts):
        found = super().decode(embedding, prompts)
        return [f if f.mask.mean() > 0.1 else replace(f, predicted_iou=0.02) for f in found]


def test_a_click_on_a_tiny_object_is_looked_at_closer():
    image = squares((61, 61, 67, 67))
    model = Close()
    seen = encoder(image, model)
    [update] = segment_zoomed(
        seen, Zoom.of(seen), PromptSet().add(1, PointPrompt(0, ((64, 64),), (1,))), 0
    )
    assert update.bbox == (61, 61, 67, 67)
    assert model.shapes == [(64, 64), (32, 32), (16, 16)]


# Propagation


def moving(n=12, step=40, side=16, start=(100, 100)):
    image = np.zeros((n, LARGE, LARGE), np.uint8)
    for t in range(n):
        y, x = start[0] + t * step // 2, start[1] + t * step
        image[t, y : y + side, x : x + side] = 200
    return image


@pytest.mark.parametrize("frame", [0, 5, 11])
@pytest.mark.parametrize("step", [4, 8])
def test_the_region_follows_an_object_that_moves(frame, step):
    image = moving(step=step)
    y, x = 100 + frame * step // 2, 100 + frame * step
    model = SmallInput()
    propagation = zoomed(image, boxed((y - 2, x - 2, y + 18, x + 18), frame), model)
    updates = [u for per_frame in propagation for u in per_frame]
    np.testing.assert_array_equal(filled(updates, image), image > 0)
    assert sorted(u.frame for u in updates) == list(range(12))
    assert propagation.total == 12
    assert max(max(shape) for shape in model.shapes) <= 3 * SIDE


def test_an_object_that_grows_is_followed_by_larger_regions():
    image = np.zeros((30, LARGE, LARGE), np.uint8)
    for t in range(30):
        half = 10 + t
        image[t, 500 - half : 500 + half, 500 - half : 500 + half] = 200
    model = SmallInput()
    propagation = zoomed(image, boxed((488, 488, 512, 512)), model)
    updates = [u for per_frame in propagation for u in per_frame]
    overlap = [
        (filled([u], image)[u.frame] & (image[u.frame] > 0)).sum() / (image[u.frame] > 0).sum()
        for u in updates
    ]
    assert [u.frame for u in updates] == list(range(30))
    assert min(overlap) > 0.8
    assert model.shapes[0] == (SIDE, SIDE)
    assert model.shapes[-1] > (SIDE, SIDE)


def test_each_prompted_frame_is_seen_in_its_own_region():
    image = np.zeros((9, LARGE, LARGE), np.uint8)
    image[:5, 100:120, 100:120] = 200
    image[5:, 900:920, 900:920] = 200
    prompts = PromptSet().add(
        1, BoxPrompt(0, (98, 98, 122, 122)), BoxPrompt(8, (898, 898, 922, 922))
    )
    model = SmallInput()
    propagation = zoomed(image, prompts, model)
    updates = [u for per_frame in propagation for u in per_frame]
    np.testing.assert_array_equal(filled(updates, image), image > 0)
    assert sorted(u.frame for u in updates) == list(range(9))
    assert {*model.shapes} == {(SIDE, SIDE)}


@pytest.mark.parametrize("direction", ["both", "forward", "backward"])
@pytest.mark.parametrize(("start", "stop"), [(None, None), (2, 7), (6, 9), (0, 3)])
def test_the_frames_that_are_stated_are_those_of_a_propagation_on_whole_frames(
    direction, start, stop
):
    image = squares((100, 100, 120, 120), frames=9)
    prompts = PromptSet().add(1, *(BoxPrompt(f, (98, 98, 122, 122)) for f in (2, 5)))
    prompts = prompts.add(2, BoxPrompt(4, (98, 98, 122, 122)))
    options = {"direction": direction, "start": start, "stop": stop}
    whole = Propagation(encoder(image, BrightModel()), prompts, **options)
    expected = sorted({(u.frame, u.object_id) for updates in whole for u in updates})
    propagation = zoomed(image, prompts, **options)
    found = sorted({(u.frame, u.object_id) for updates in propagation for u in updates})
    assert found == expected
    assert propagation.total == whole.total


def test_objects_that_share_a_region_are_embedded_once_a_frame():
    image = squares((500, 300, 510, 310), (500, 315, 510, 325), frames=6)
    model = SmallInput()
    prompts = boxed((498, 298, 512, 312), 3).add(2, BoxPrompt(3, (498, 313, 512, 327)))
    found = filled((u for us in zoomed(image, prompts, model) for u in us), image)
    np.testing.assert_array_equal(found, image > 0)
    assert len(model.shapes) == 6


def test_propagation_reads_no_more_than_the_regions():
    image = squares((500, 300, 512, 320), frames=5)
    data = Recorded(image)
    seen = FrameEncoder(Volume(data).stack(0), Window(0, 255), SmallInput(), EmbeddingCache())
    whole = Propagation(seen, boxed((498, 298, 514, 322), 2))
    for _ in ZoomedPropagation(whole, Zoom.of(seen)):
        pass
    assert data.parts == [SIDE * SIDE] * 5


def test_a_propagation_can_be_left_early():
    image = moving(step=8)
    propagation = iter(zoomed(image, boxed((98, 98, 118, 118))))
    assert [next(propagation)[0].frame for _ in range(3)] == [0, 1, 2]
    propagation.close()


# A session


def test_a_session_zooms_and_replays_to_the_same_labels():
    image = moving(n=4, step=8)
    session = nm.Session(image, model="litemedsam", window=(0, 255))
    session.use_model(SmallInput())
    session.add_box(0, (98, 98, 118, 118))
    session.segment(0)
    for _ in session.propagate():
        pass
    np.testing.assert_array_equal(session.labels > 0, image > 0)
    np.testing.assert_array_equal(session.replay(), session.labels)


def test_without_zoom_whole_frames_are_looked_at():
    image = moving(n=2, step=8)
    session = nm.Session(image, model="litemedsam", window=(0, 255), zoom="off")
    model = SmallInput()
    session.use_model(model)
    session.add_box(0, (98, 98, 118, 118))
    session.segment(0)
    assert model.shapes == [(LARGE, LARGE)]


def test_prompted_masks_are_kept_to_the_pixel():
    image = squares((500, 300, 512, 320), frames=3)
    mask = np.zeros((LARGE, LARGE), bool)
    mask[501:511, 302:318] = True
    session = nm.Session(image, window=(0, 255))
    session.add_mask(1, mask)
    [update] = session.segment(1)
    assert update.bbox == (501, 302, 511, 318)
    [update] = session.propagate(start=1, stop=2)
    np.testing.assert_array_equal(update.full_mask(mask.shape), mask)
    assert MaskPrompt(1, mask) in session.prompts[1].prompts


def test_regions_have_embeddings_of_their_own_in_a_folder(tmp_path):
    image = squares((500, 300, 512, 320), (100, 100, 120, 120))
    session = nm.Session(image, window=(0, 255), cache=tmp_path)
    session.add_box(0, (498, 298, 514, 322), object_id=1)
    session.add_box(0, (98, 98, 122, 122), object_id=2)
    session.segment(0)
    assert len(session.cache.store) == 2
    again = nm.Session(image, window=(0, 255), cache=tmp_path)
    again.set_prompts(session.prompts)
    again.segment(0)
    np.testing.assert_array_equal(again.labels, session.labels)
    assert len(session.cache.store) == 2


# A model with a memory, on what a microscope would show


def cells(n, step, radius=20, size=1400, at=(300, 260)):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    movie = np.empty((n, size, size), np.uint8)
    truth = np.zeros((n, size, size), bool)
    for t in range(n):
        truth[t] = (y - at[0]) ** 2 + (x - at[1] - t * step) ** 2 < radius**2
        movie[t] = np.clip(40 + 120 * truth[t] + rng.normal(0, 8, (size, size)), 0, 255)
    return movie, truth


def dice(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


@pytest.mark.slow
def test_a_cell_that_crosses_a_large_frame_is_tracked_corrected_and_tracked_again():
    movie, truth = cells(9, 24)
    data = Recorded(movie)
    session = nm.Session(Volume(data, "tyx"), "litemedsam-track", window=(0, 255))
    session.add_box(0, (276, 236, 324, 284))
    updates = list(session.propagate("forward"))
    assert [u.frame for u in updates] == list(range(9))
    assert all(dice(session.labels[t] > 0, truth[t]) > 0.85 for t in range(9))
    assert max(data.parts) <= 512 * 512

    session.add_points(8, [(300, 260 + 8 * 24)], [1])
    [update] = session.segment(8)
    assert dice(update.full_mask(movie.shape[1:]), truth[8]) > 0.85
    for _ in session.propagate("forward"):
        pass
    assert all(dice(session.labels[t] > 0, truth[t]) > 0.85 for t in range(9))
    np.testing.assert_array_equal(session.replay(), session.labels)
    assert max(data.parts) <= 512 * 512


@pytest.mark.slow
def test_a_cell_is_found_by_a_click_with_zoom_and_lost_without():
    movie, truth = cells(1, 0, size=3000)
    scores = {}
    for zoom in ("auto", "off"):
        session = nm.Session(movie, "litemedsam-track", window=(0, 255), zoom=zoom)
        session.add_points(0, [(300, 260)])
        session.segment(0)
        scores[zoom] = dice(session.labels[0] > 0, truth[0])
    assert scores["auto"] > 0.9
    assert scores["off"] < 0.5
