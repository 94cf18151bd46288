"""The session: prompts in, labels out, undo, files, replay.

Most tests run a model without a network, so that every pixel of the answer is known; the last ones
run LiteMedSAM.
"""

import json

import numpy as np
import pytest
from tests.fakes import BrightModel

import napari_medsam2 as nm
from napari_medsam2.errors import InputError, ModelError, PromptError, ReadError
from napari_medsam2.session import Session

BOX_A, BOX_B = (8, 2, 32, 22), (8, 28, 32, 52)


def two_blocks(n=5):
    image = np.zeros((n, 40, 64), np.uint8)
    image[:, 10:30, 4:20] = 200
    image[:, 10:30, 30:50] = 220
    return image


def truth(n=5):
    labels = np.zeros((n, 40, 64), np.uint16)
    labels[:, 10:30, 4:20] = 1
    labels[:, 10:30, 30:50] = 2
    return labels


@pytest.fixture
def session():
    return prepared(Session(two_blocks(), window=(0, 255)))


def prepared(session):
    session.use_model(BrightModel())
    return session


def with_boxes(session):
    session.add_box(2, BOX_A, 1, name="left")
    session.add_box(3, BOX_B, 2)
    return session


def test_boxes_become_labels_on_every_frame(session):
    updates = list(with_boxes(session).propagate())
    np.testing.assert_array_equal(session.labels, truth())
    assert len(updates) == 10
    assert session.labels.dtype == np.uint16
    assert set(session.scores) == {1, 2}
    assert all(((s > 0) & (s <= 1)).all() for s in session.scores.values())


def test_labels_are_written_as_updates_are_yielded(session):
    with_boxes(session)
    seen = set()
    for update in session.propagate():
        assert (session.labels[update.frame] == update.object_id).sum() == update.area
        seen.add(update.frame)
    assert seen == set(range(5))


def test_one_frame_alone(session):
    (update,) = with_boxes(session).segment(2)
    assert (update.object_id, update.frame, update.area) == (1, 2, 320)
    assert np.count_nonzero(session.labels) == 320
    scores = session.scores[1]
    assert np.isnan(scores[[0, 1, 3, 4]]).all()
    assert scores[2] > 0


def test_only_some_objects(session):
    list(with_boxes(session).propagate(object_ids=[2]))
    assert set(np.unique(session.labels)) == {0, 2}


def test_along_another_axis():
    image = np.moveaxis(two_blocks(), 0, 2)
    session = prepared(Session(image, window=(0, 255), axis=2))
    list(with_boxes(session).propagate())
    np.testing.assert_array_equal(session.labels, np.moveaxis(truth(), 0, 2))


def test_one_time_point_of_four_dimensions():
    image = np.stack([np.zeros_like(two_blocks()), two_blocks()])
    session = prepared(Session(image, window=(0, 255), axis="z", at=[1]))
    list(with_boxes(session).propagate())
    np.testing.assert_array_equal(session.labels[1], truth())
    assert not session.labels[0].any()


def test_labels_may_be_given(session):
    mine = np.zeros((5, 40, 64), np.uint8)
    other = prepared(Session(two_blocks(), window=(0, 255), labels=mine))
    list(with_boxes(other).propagate())
    np.testing.assert_array_equal(mine, truth())
    with pytest.raises(InputError, match="labels have shape"):
        Session(two_blocks(), labels=np.zeros((4, 40, 64), np.uint8))
    with pytest.raises(InputError, match="unsigned"):
        Session(two_blocks(), labels=np.zeros((5, 40, 64), np.int32))


def test_undo_and_redo_go_over_prompts_and_masks(session):
    session.add_box(2, BOX_A, 1)
    list(session.propagate())
    filled = session.labels.copy()
    session.add_box(3, BOX_B, 2)
    assert session.undo_text == "prompt object 2"
    assert session.undo()
    assert session.prompts.ids == (1,)
    np.testing.assert_array_equal(session.labels, filled)
    assert session.undo()
    assert not session.labels.any()
    assert session.scores == {}
    assert session.prompts.ids == (1,)
    assert session.undo()
    assert session.prompts.ids == ()
    assert not session.undo()
    for _ in range(3):
        assert session.redo()
    assert not session.redo()
    assert session.prompts.ids == (1, 2)
    np.testing.assert_array_equal(session.labels, filled)


def test_a_new_step_forgets_what_was_undone(session):
    session.add_box(2, BOX_A, 1)
    session.undo()
    session.add_box(2, BOX_B, 1)
    assert session.redo_text is None
    assert not session.redo()


def test_leaving_a_propagation_early_keeps_what_is_done_as_one_step(session):
    with_boxes(session)
    for number, _ in enumerate(session.propagate()):
        if number == 3:
            break
    kept = session.labels.copy()
    assert 0 < np.count_nonzero(kept) < np.count_nonzero(truth())
    np.testing.assert_array_equal(session.replay(), kept)
    session.undo()
    assert not session.labels.any()
    list(session.propagate())
    np.testing.assert_array_equal(session.labels, truth())


def test_a_failing_model_leaves_the_session_usable(session):
    with_boxes(session)
    good = session.model

    class Failing(BrightModel):
        def embed(self, frame):
            if len(self.embedded) == 2:
                raise ModelError("the model broke")
            return super().embed(frame)

    session.use_model(Failing())
    with pytest.raises(ModelError, match="the model broke"):
        list(session.propagate())
    session.use_model(good)
    session.undo()
    assert not session.labels.any()
    list(session.propagate())
    np.testing.assert_array_equal(session.labels, truth())


def test_nothing_else_may_change_labels_during_a_run(session):
    with_boxes(session)
    run = session.start_propagation()
    for update in run.updates():
        run.apply(update)
        break
    for action in (session.undo, session.redo, session.start_propagation):
        with pytest.raises(InputError, match="a run is in progress"):
            action()
    with pytest.raises(InputError, match="a run is in progress"):
        session.remove_object(1)
    session.add_box(1, BOX_A, 1)
    run.close()
    assert session.undo()


def test_an_update_after_the_end_is_ignored(session):
    with_boxes(session)
    run = session.start_propagation()
    first, second, *_ = run.updates()
    run.apply(first)
    run.close()
    before = session.labels.copy()
    run.apply(second)
    np.testing.assert_array_equal(session.labels, before)
    assert run.total() == 10


def test_another_session_on_the_same_frames_takes_over(session):
    list(with_boxes(session).propagate(object_ids=[1]))
    other = prepared(Session(two_blocks(), window=(0, 400), labels=session.labels))
    other.take_over(session)
    # 200 of 400 is 127.5 of 255: still bright to the model, but other logits and other scores.
    list(other.propagate(object_ids=[2]))
    np.testing.assert_array_equal(other.labels, truth())
    assert [run.window for run in other.runs] == [(0, 255), (0, 400)]
    np.testing.assert_array_equal(other.replay(), other.labels)
    other.undo()
    other.undo()
    assert not other.labels.any()
    with pytest.raises(InputError, match="same image and labels"):
        prepared(Session(two_blocks())).take_over(other)


def test_a_history_can_begin_anew(session):
    list(with_boxes(session).propagate())
    session.begin_history()
    assert not session.undo()
    np.testing.assert_array_equal(session.replay(), truth())


def test_removing_an_object_and_taking_it_back(session):
    list(with_boxes(session).propagate())
    session.remove_object(1)
    assert set(np.unique(session.labels)) == {0, 2}
    assert session.prompts.ids == (2,)
    np.testing.assert_array_equal(session.replay(), session.labels)
    session.undo()
    np.testing.assert_array_equal(session.labels, truth())
    assert session.prompts[1].name == "left"
    with pytest.raises(PromptError, match="no object 9; objects: 1, 2"):
        session.remove_object(9)


def test_names_and_clearing(session):
    with_boxes(session)
    session.rename_object(2, "right")
    assert [o.name for o in session.prompts.objects] == ["left", "right"]
    session.clear_prompts(1)
    assert session.prompts.prompted_ids == (2,)
    session.undo()
    session.clear_prompts(frame=3)
    assert session.prompts.prompted_ids == (1,)
    with pytest.raises(InputError, match="no frame 99"):
        session.clear_prompts(frame=99)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.add_box(9, BOX_A), "frame 9: the image has frames 0 to 4"),
        (lambda s: s.add_box(0, (50, 3, 60, 9)), "outside the frame of 40 x 64"),
        (lambda s: s.add_box(0, (9, 3, 5, 9)), "inverted"),
        (lambda s: s.add_box(0, (9, 3, 5)), "four numbers"),
        (lambda s: s.add_box(0, BOX_A, 0), "object id 0 is outside"),
        (lambda s: s.add_points(0, [(99, 3)]), "point .99, 3. lies outside"),
        (lambda s: s.add_mask(0, np.ones((3, 3))), "the mask is"),
        (lambda s: s.segment(0), "no prompts yet"),
        (lambda s: list(s.propagate()), "no prompts yet"),
    ],
)
def test_bad_prompts_are_refused_and_change_nothing(session, call, message):
    with pytest.raises(PromptError, match=message):
        call(session)
    assert session.prompts.ids == ()
    assert session.undo_text is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "nosuch"}, ModelError, "unknown model 'nosuch'; known: litemedsam"),
        ({"axis": 3}, InputError, "no axis 3"),
        ({"spacing": (1, 2)}, InputError, "3 positive numbers"),
        ({"precision": "int8"}, InputError, "unknown precision 'int8'"),
        ({"memory": "big"}, InputError, "unknown memory 'big'"),
        ({"cache": -1}, InputError, "0 MB or more"),
    ],
)
def test_bad_options_are_refused_at_once(options, error, message):
    with pytest.raises(error, match=message):
        Session(two_blocks(), **options)


def test_save_load_and_replay_give_identical_labels(session, tmp_path):
    with_boxes(session)
    list(session.propagate(object_ids=[1]))
    session.add_points(2, [(12, 8)], [1], 1)
    list(session.propagate("forward", object_ids=[2]))
    session.segment(2)
    path = session.save(tmp_path / "case.medsam2.json")
    loaded = prepared(Session.load(path, two_blocks()))
    np.testing.assert_array_equal(loaded.labels, session.labels)
    assert loaded.prompts == session.prompts
    assert loaded.settings == session.settings
    for object_id, scores in session.scores.items():
        np.testing.assert_array_equal(loaded.scores[object_id], scores)
    assert loaded.runs == session.runs
    np.testing.assert_array_equal(loaded.replay(), session.labels)
    assert not loaded.undo()


def test_labels_of_before_keep_their_numbers_whatever_their_size(tmp_path):
    labels = np.zeros(two_blocks().shape, np.uint32)
    labels[0, :3, :3] = 70_000
    session = prepared(Session(two_blocks(), labels=labels))
    session.add_box(1, (4, 4, 12, 12), 1)
    session.segment(1)
    path = session.save(tmp_path / "case.medsam2.json")
    loaded = Session.load(path, two_blocks())
    np.testing.assert_array_equal(loaded.labels, session.labels)
    assert (loaded.labels == 70_000).sum() == 9


def test_a_session_finds_its_image_again(tmp_path):
    np.save(tmp_path / "scan.npy", two_blocks())
    session = prepared(Session(nm.read(tmp_path / "scan.npy"), window=(0, 255)))
    list(with_boxes(session).propagate())
    path = session.save(tmp_path / "case.json")
    assert json.loads(path.read_text())["session"]["image"]["source"] == "scan.npy"
    np.testing.assert_array_equal(Session.load(path).labels, truth())
    (tmp_path / "scan.npy").unlink()
    with pytest.raises(ReadError, match=r"scan\.npy is gone"):
        Session.load(path)


def test_saving_again_replaces_the_old_files(session, tmp_path):
    list(with_boxes(session).propagate())
    session.save(tmp_path / "case.json")
    session.remove_object(1)
    session.save(tmp_path / "case.json")
    assert len(list(tmp_path.iterdir())) == 2
    loaded = Session.load(tmp_path / "case.json", two_blocks())
    assert set(np.unique(loaded.labels)) == {0, 2}


def test_a_crash_while_saving_leaves_the_old_session(session, tmp_path, monkeypatch):
    list(with_boxes(session).propagate())
    path = session.save(tmp_path / "case.json")
    session.remove_object(1)

    def crash(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", crash)
    with pytest.raises(KeyboardInterrupt):
        session.save(path)
    monkeypatch.undo()
    np.testing.assert_array_equal(Session.load(path, two_blocks()).labels, truth())


def test_a_session_on_another_image_is_refused(session, tmp_path):
    path = with_boxes(session).save(tmp_path / "case.json")
    with pytest.raises(ReadError, match="shape"):
        Session.load(path, two_blocks(6))
    with pytest.raises(ReadError, match="pixels differ"):
        Session.load(path, two_blocks() + 1)
    with pytest.raises(ReadError, match="was in memory; give it to load"):
        Session.load(path)


def test_a_tampered_session_is_refused(session, tmp_path):
    path = with_boxes(session).save(tmp_path / "case.json")
    document = json.loads(path.read_text())

    def changed(*keys, value):
        copy = json.loads(json.dumps(document))
        place = copy
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        path.write_text(json.dumps(copy))
        return path

    for name in ("/etc/passwd", "../other.labels-0123456789.tif", "labels.tif"):
        with pytest.raises(ReadError, match="no labels file of a session"):
            Session.load(changed("session", "labels", value=name), two_blocks())
    with pytest.raises(ReadError, match=r"session.settings.modle: unknown key"):
        Session.load(changed("session", "settings", "modle", value=1), two_blocks())
    with pytest.raises(ReadError, match=r"case\.json"):
        Session.load(changed("session", "runs", value=[{"kind": "x", "objects": []}]), two_blocks())
    del document["session"]
    path.write_text(json.dumps(document))
    with pytest.raises(ReadError, match="holds prompts but no saved session"):
        Session.load(path, two_blocks())


def test_the_one_liner_with_a_real_model():
    y, x = np.mgrid[:96, :96]
    disc = (y - 50) ** 2 + (x - 40) ** 2 < 20**2
    noise = np.random.default_rng(0).normal(0, 10, (3, 96, 96))
    image = np.where(disc, 160, 60) + noise
    labels = nm.segment(image, [nm.BoxPrompt(1, (29, 19, 72, 62))])
    assert set(np.unique(labels)) == {0, 1}
    overlap = 2 * (labels[:, disc] > 0).sum() / ((labels > 0).sum() + 3 * disc.sum())
    assert overlap > 0.95


def test_litemedsam_refuses_what_it_cannot_follow():
    session = Session(two_blocks(3), model="litemedsam", window=(0, 255))
    session.add_points(1, [(20, 10)], [1], 4)
    with pytest.raises(PromptError, match="object 4, frame 1: LiteMedSAM needs a box"):
        session.segment(1)
    session.undo()
    session.add_mask(1, two_blocks()[0] > 0, 4)
    with pytest.raises(PromptError, match="object 4, frame 1: LiteMedSAM cannot follow a mask"):
        list(session.propagate())
    assert not session.labels.any()
