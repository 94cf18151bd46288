"""Prompts as JSON: nothing is lost, nothing unknown is accepted, and no file outside is opened."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_medsam2.errors import ReadError, WriteError
from napari_medsam2.io import PromptDocument, read_prompts, write_prompts
from napari_medsam2.io.prompts import (
    MaskFile,
    objects_from_json,
    objects_to_json,
    read_document,
    write_document,
)
from napari_medsam2.prompts import (
    BoxPrompt,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PolygonPrompt,
    PromptSet,
    ScribblePrompt,
)

if TYPE_CHECKING:
    from pathlib import Path

coordinate = st.floats(-1e6, 1e6, allow_nan=False)
pair = st.tuples(coordinate, coordinate)
frame = st.integers(0, 10_000)
label = st.integers(0, 1)


@st.composite
def boxes(draw: Any) -> BoxPrompt:
    y0, x0 = draw(pair)
    height, width = draw(st.tuples(st.floats(2.01, 1e5), st.floats(2.01, 1e5)))
    return BoxPrompt(draw(frame), (y0, x0, y0 + height, x0 + width))


@st.composite
def points(draw: Any) -> PointPrompt:
    places = draw(st.lists(pair, min_size=1, max_size=5))
    return PointPrompt(draw(frame), tuple(places), tuple(draw(label) for _ in places))


polygons = st.builds(PolygonPrompt, frame, st.lists(pair, min_size=3, max_size=6).map(tuple))
scribbles = st.builds(
    ScribblePrompt, frame, st.lists(pair, min_size=1, max_size=6).map(tuple), label
)
masks = st.builds(
    MaskPrompt, frame, arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6))).filter(np.any)
)
objects = st.builds(
    ObjectPrompts,
    st.integers(1, 65_535),
    st.text(max_size=10),
    st.lists(st.one_of(boxes(), points(), polygons, scribbles, masks), max_size=5).map(tuple),
)
prompt_sets = st.lists(objects, max_size=4, unique_by=lambda o: o.id).map(
    lambda found: PromptSet(tuple(found))
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
sessions = st.none() | st.dictionaries(st.text(max_size=5), json_values, max_size=4)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(prompts=prompt_sets, axis=st.integers(0, 3), session=sessions)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, prompts: PromptSet, axis: int, session: Any
) -> None:
    path = tmp_path_factory.mktemp("prompts") / "case.json"
    document = PromptDocument(prompts, axis, session)
    write_prompts(path, document)
    again = read_prompts(path)
    assert again == document
    if session is not None:
        assert json.dumps(again.session) == json.dumps(session)


MASK = np.array([[0, 1, 1], [0, 0, 1]], bool)
SMALL = {"version": 1, "axis": 0, "objects": [{"id": 1, "prompts": []}]}


def document(*prompts: Any, **changes: Any) -> dict[str, Any]:
    return {"version": 1, "objects": [{"id": 1, "name": "a", "prompts": list(prompts)}], **changes}


def write(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "case.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


BOX = {"type": "box", "frame": 20, "box": [1, 2, 30.5, 40]}


class TestReading:
    def test_the_example_of_the_documentation(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "mask.npz", mask=MASK)
        content = document(
            BOX,
            {"type": "points", "frame": 20, "points": [[3, 4.5]], "labels": [1]},
            {"type": "polygon", "frame": 21, "vertices": [[0, 0], [0, 5], [5, 5]]},
            {"type": "scribble", "frame": 22, "path": [[1, 1], [2, 2]], "label": 0},
            {"type": "mask", "frame": 23, "file": "mask.npz"},
            axis=2,
        )
        found = read_prompts(write(tmp_path, content))
        assert found.axis == 2
        assert found.session is None
        assert found.prompts == PromptSet(
            (
                ObjectPrompts(
                    1,
                    "a",
                    (
                        BoxPrompt(20, (1, 2, 30.5, 40)),
                        PointPrompt(20, ((3, 4.5),), (1,)),
                        PolygonPrompt(21, ((0, 0), (0, 5), (5, 5))),
                        ScribblePrompt(22, ((1, 1), (2, 2)), 0),
                        MaskPrompt(23, MASK),
                    ),
                ),
            )
        )

    def test_what_may_be_left_out(self, tmp_path: Path) -> None:
        content = {"version": 1, "objects": [{"id": 3, "prompts": [
            {"type": "scribble", "frame": 0, "path": [[1, 1]]}]}]}  # fmt: skip
        found = read_prompts(write(tmp_path, content))
        assert found == PromptDocument(
            PromptSet((ObjectPrompts(3, "", (ScribblePrompt(0, ((1, 1),), 1),)),))
        )

    def test_a_byte_order_mark_from_windows(self, tmp_path: Path) -> None:
        assert read_prompts(write(tmp_path, "\ufeff" + json.dumps(SMALL))).prompts.ids == (1,)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ({**SMALL, "axes": 1}, "axes: unknown key, did you mean 'axis'?"),
            ({**SMALL, "x": 1}, "x: unknown key, known are version, objects, axis, session"),
            ({"objects": []}, "the key 'version' is missing"),
            ({"version": 1}, "the key 'objects' is missing"),
            ({**SMALL, "version": 2}, "version: is 2, this program knows 1; update napari-medsam2"),
            ({**SMALL, "version": "1"}, 'version: must be a whole number, got "1"'),
            ({**SMALL, "version": True}, "version: must be a whole number, got true"),
            ({**SMALL, "axis": -1}, "axis: must be 0 or more"),
            ({**SMALL, "axis": 0.0}, "axis: must be a whole number, got 0.0"),
            ({**SMALL, "session": []}, "session: must be an object {...}, got []"),
            ({**SMALL, "objects": {}}, "objects: must be a list [...], got {}"),
            ([], "must hold one object {...}, got []"),
            ({"version": 1, "objects": [3]}, "objects[0]: must be an object {...}, got 3"),
            ({"version": 1, "objects": [{"id": 1}]}, "objects[0]: the key 'prompts' is missing"),
            (
                {"version": 1, "objects": [{"id": 0, "prompts": []}]},
                "objects[0].id: object id 0 is outside 1..65535",
            ),
            (
                {"version": 1, "objects": [{"id": 2, "prompts": []}] * 2},
                "objects: object 2 is listed twice",
            ),
            (
                {"version": 1, "objects": [{"id": 2, "name": 3, "prompts": []}]},
                "objects[0].name: must be text in quotes, got 3",
            ),
            (
                document(BOX, BOX, {"type": "box", "frame": 1, "boxx": [1, 2, 3, 4]}),
                "objects[0].prompts[2].boxx: unknown key, did you mean 'box'?",
            ),
            (
                document({"type": "bax", "frame": 1}),
                "objects[0].prompts[0].type: unknown prompt 'bax'; use box, points, polygon, "
                "scribble, mask",
            ),
            (document({"frame": 1}), "objects[0].prompts[0]: the key 'type' is missing"),
            (
                document({"type": "box", "box": [1, 2, 3, 4]}),
                "objects[0].prompts[0]: the key 'frame' is missing",
            ),
            (
                document({**BOX, "frame": 1.5}),
                "objects[0].prompts[0].frame: must be a whole number, got 1.5",
            ),
            (
                document({**BOX, "frame": -1}),
                "objects[0].prompts[0]: a frame is a whole number from 0, got -1",
            ),
            (
                document({**BOX, "box": [1, 2, 3]}),
                "objects[0].prompts[0].box: must be 4 numbers [y0, x0, y1, x1], got [1, 2, 3]",
            ),
            (
                document({**BOX, "box": [1, 2, "3", 4]}),
                'objects[0].prompts[0].box[2]: must be a number, got "3"',
            ),
            (
                document({**BOX, "box": [1, 2, 10**400, 4]}),
                "objects[0].prompts[0].box[2]: is too large a number",
            ),
            (
                document({**BOX, "box": [9, 2, 3, 40]}),
                "objects[0].prompts[0]: frame 20: box (y0=9, x0=2, y1=3, x1=40) is inverted; "
                "y0 < y1 and x0 < x1 are needed",
            ),
            (
                document({"type": "points", "frame": 1, "points": [[1, 2], [3]], "labels": [1, 1]}),
                "objects[0].prompts[0].points[1]: must be 2 numbers [y, x], got [3]",
            ),
            (
                document({"type": "points", "frame": 1, "points": [[1, 2]], "labels": [2]}),
                "objects[0].prompts[0]: a label is 1 (object) or 0 (not the object), got 2",
            ),
        ],
    )
    def test_mistakes_are_named_with_their_place(
        self, tmp_path: Path, content: Any, said: str
    ) -> None:
        with pytest.raises(ReadError) as caught:
            read_prompts(write(tmp_path, content))
        assert str(caught.value) == f"case.json: {said}"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "is no valid JSON: Expecting value in line 1, column 1"),
            (
                '{"version": 1,\n "objects": [}',
                "is no valid JSON: Expecting value in line 2, column 14",
            ),
            ('{"version": NaN}', "NaN is not a number that JSON knows"),
            ('{"version": 1, "version": 1}', "the key 'version' comes twice in one object"),
            ("[" * 100_000, "is no reasonable JSON"),
        ],
    )
    def test_what_is_no_json(self, tmp_path: Path, text: str, said: str) -> None:
        with pytest.raises(ReadError, match=r"^case\.json: ") as caught:
            read_prompts(write(tmp_path, text))
        assert said in str(caught.value)

    def test_binary_and_missing(self, tmp_path: Path) -> None:
        (tmp_path / "case.json").write_bytes(b"\x89PNG\xff")
        with pytest.raises(ReadError, match="is no text"):
            read_prompts(tmp_path / "case.json")
        with pytest.raises(ReadError, match="no such file"):
            read_prompts(tmp_path / "none.json")


class TestMaskFiles:
    def mask(self, tmp_path: Path, file: Any, **more: Any) -> MaskPrompt:
        content = document({"type": "mask", "frame": 0, "file": file, **more})
        prompt = read_prompts(write(tmp_path, content)).prompts[1].prompts[0]
        assert isinstance(prompt, MaskPrompt)
        return prompt

    def test_equal_masks_are_stored_once(self, tmp_path: Path) -> None:
        prompts = PromptSet((
            ObjectPrompts(1, "", (MaskPrompt(0, MASK), MaskPrompt(5, MASK.copy()))),
            ObjectPrompts(2, "", (MaskPrompt(0, ~MASK), MaskPrompt(1, MASK))),
        ))  # fmt: skip
        path = write_prompts(tmp_path / "x.medsam2.json", PromptDocument(prompts))
        with np.load(tmp_path / "x.medsam2.masks.npz") as stored:
            assert sorted(stored.files) == ["m0", "m1"]
        assert read_prompts(path).prompts == prompts

    def test_without_masks_there_is_no_second_file(self, tmp_path: Path) -> None:
        write_prompts(tmp_path / "a.json", PromptDocument(PromptSet()))
        assert [p.name for p in tmp_path.iterdir()] == ["a.json"]

    @pytest.mark.parametrize("names", [["only"], ["mask", "other"]])
    def test_without_key(self, tmp_path: Path, names: list[str]) -> None:
        np.savez(tmp_path / "m.npz", **dict.fromkeys(names, MASK.astype(np.int32) * 7))
        assert self.mask(tmp_path, "m.npz") == MaskPrompt(0, MASK)

    @pytest.mark.parametrize(
        "name",
        ["../m.npz", "/etc/passwd", "sub/m.npz", "..", ".", "", "sub\\m.npz", "C:m.npz", "a\0b"],
    )
    def test_other_places_are_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "inside" / "sub").mkdir(parents=True)
        np.savez(tmp_path / "m.npz", mask=MASK)
        np.savez(tmp_path / "inside" / "sub" / "m.npz", mask=MASK)
        with pytest.raises(ReadError, match=r"case.json: objects\[0\]\.prompts\[0\]: .*plain name"):
            self.mask(tmp_path / "inside", name)

    def test_a_link_that_leaves_the_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "inside").mkdir()
        np.savez(tmp_path / "m.npz", mask=MASK)
        (tmp_path / "inside" / "m.npz").symlink_to(tmp_path / "m.npz")
        with pytest.raises(ReadError, match=r"m.npz is a link that leaves the folder"):
            self.mask(tmp_path / "inside", "m.npz")

    def test_a_folder_that_is_itself_a_link_is_fine(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        np.savez(tmp_path / "real" / "m.npz", mask=MASK)
        (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
        assert self.mask(tmp_path / "link", "m.npz") == MaskPrompt(0, MASK)

    def test_pickles_are_refused(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "m.npz", mask=np.array([[{}]], object))
        with pytest.raises(ReadError, match=r"cannot be read as \.npz"):
            self.mask(tmp_path, "m.npz")

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "cannot be read as .npz"),
            (b"PK\x03\x04 nonsense", "cannot be read as .npz"),
            (None, "is missing; it belongs beside case.json"),
        ],
    )
    def test_damaged_or_missing(self, tmp_path: Path, content: bytes | None, said: str) -> None:
        if content is not None:
            (tmp_path / "m.npz").write_bytes(content)
        with pytest.raises(ReadError, match=said):
            self.mask(tmp_path, "m.npz")

    def test_wrong_contents(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "m.npz", volume=np.ones((2, 2, 2), bool), real=np.ones((2, 2)),
                 none=np.zeros((2, 2), bool))  # fmt: skip
        with pytest.raises(ReadError, match=r"m.npz has no array 'm0'; it has volume, real, none"):
            self.mask(tmp_path, "m.npz", key="m0")
        with pytest.raises(ReadError, match="has no array 'mask'"):
            self.mask(tmp_path, "m.npz")
        with pytest.raises(ReadError, match=r"must be 2D.*bool \(2, 2, 2\)"):
            self.mask(tmp_path, "m.npz", key="volume")
        with pytest.raises(ReadError, match=r"must be 2D.*float64"):
            self.mask(tmp_path, "m.npz", key="real")
        with pytest.raises(ReadError, match="the mask is empty"):
            self.mask(tmp_path, "m.npz", key="none")


class TestWriting:
    PROMPTS = PromptSet((ObjectPrompts(1, "größe", (BoxPrompt(0, (0, 0, 5, 5)),)),))

    def test_what_exists_stays(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        path.write_text("old")
        with pytest.raises(WriteError, match="exists"):
            write_prompts(path, PromptDocument(self.PROMPTS))
        assert path.read_text() == "old"
        write_prompts(path, PromptDocument(self.PROMPTS), overwrite=True)
        assert read_prompts(path).prompts == self.PROMPTS
        assert "größe" in path.read_text(encoding="utf-8")

    @pytest.mark.parametrize("value", [float("nan"), {1, 2}, {3: 4}])
    def test_a_session_that_json_cannot_hold_leaves_nothing(
        self, tmp_path: Path, value: Any
    ) -> None:
        document = PromptDocument(PromptSet(), session={"a": [{"b": value}] * 20})
        with pytest.raises(WriteError, match="what JSON cannot express"):
            write_prompts(tmp_path / "a.json", document)
        assert not list(tmp_path.iterdir())

    def test_masks_that_cannot_be_written_leave_the_old_prompts(self, tmp_path: Path) -> None:
        path = write_prompts(tmp_path / "a.json", PromptDocument(self.PROMPTS))
        (tmp_path / "a.masks.npz").mkdir()
        prompts = PromptSet((ObjectPrompts(1, "", (MaskPrompt(0, MASK),)),))
        with pytest.raises(WriteError, match=r"a\.masks\.npz: is a folder"):
            write_prompts(path, PromptDocument(prompts), overwrite=True)
        assert read_prompts(path).prompts == self.PROMPTS
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.masks.npz"]

    def test_more_prompts_inside_the_session_share_the_masks(self, tmp_path: Path) -> None:
        now = PromptSet((ObjectPrompts(1, "", (MaskPrompt(0, MASK),)),))
        before = PromptSet((ObjectPrompts(2, "", (MaskPrompt(7, MASK),)),))

        def build(masks: MaskFile) -> dict[str, Any]:
            return {
                "version": 1,
                "objects": objects_to_json(now, masks),
                "session": {"history": [objects_to_json(before, masks)]},
            }

        path = write_document(tmp_path / "s.json", build)
        content, masks = read_document(path)
        history = content["session"]["history"]
        assert objects_from_json(content["objects"], "objects", masks) == now
        assert objects_from_json(history[0], "session.history[0]", masks) == before
        with np.load(masks.path) as stored:
            assert stored.files == ["m0"]
        history[0][0]["prompts"][0]["frame"] = "x"
        with pytest.raises(
            ReadError, match=r"^s.json: session.history\[0\]\[0\].prompts\[0\].frame"
        ):
            objects_from_json(history[0], "session.history[0]", masks)
