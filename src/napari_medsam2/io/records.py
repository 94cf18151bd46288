"""What a saved session tells beyond its prompts: decisions, other views, runs and scores."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_medsam2.history import ModelChoice, RunRecord
from napari_medsam2.labels import MaskUpdate, Write
from napari_medsam2.state import Kept, Standing, State, Told
from napari_medsam2.volume import View

from .json_text import plain_number
from .prompts import objects_from_json, objects_to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_medsam2.prompts import PromptSet

    from .json_text import Node
    from .masks import MaskFile
    from .sessions import SavedSession

__all__ = [
    "decisions_from_json",
    "decisions_to_json",
    "run_from_json",
    "run_to_json",
    "scores_to_json",
    "view_from_json",
    "window_from_json",
]

_KINDS = ("segment", "propagate", "remove", "write")
_DIRECTIONS = ("both", "forward", "backward")
_ZOOMS = ("auto", "off")

_Scores = dict[int, "NDArray[np.float64]"]


def decisions_to_json(saved: SavedSession, masks: MaskFile) -> dict[str, Any]:
    """Return what was decided about objects, and what was said in other views."""
    state = saved.state
    content: dict[str, Any] = {"first_view": _view_to_json(saved.first_view)}
    decisions: dict[str, Any] = {
        "locked": sorted(state.standing.locked),
        "hidden": sorted(state.standing.hidden),
        "order": list(state.standing.order),
        "accepted": _accepted_to_json(state.told.accepted),
    }
    decisions = {name: value for name, value in decisions.items() if value}
    if decisions:
        content["decisions"] = decisions
    elsewhere = []
    for view in {**state.elsewhere, **saved.scores}:
        if view == state.view:
            continue
        told = state.elsewhere.get(view, Told())
        elsewhere.append(
            {
                "view": _view_to_json(view),
                "objects": objects_to_json(told.prompts, masks),
                "accepted": _accepted_to_json(told.accepted),
                "scores": scores_to_json(saved.scores.get(view, {})),
            }
        )
    if elsewhere:
        content["elsewhere"] = elsewhere
    return content


def decisions_from_json(
    root: Node, view: View, prompts: PromptSet, masks: MaskFile
) -> tuple[State, dict[View, _Scores]]:
    """Return the state and the scores of all views.

    Parameters
    ----------
    root : Node
        The "session" of the document.
    view : View
        The one that the session looks at.
    prompts : PromptSet
        On the frames of this view.
    masks : MaskFile

    Raises
    ------
    ReadError
    """
    standing, accepted = Standing(), frozenset[tuple[int, int]]()
    if "decisions" in root:
        node = root.get("decisions")
        node.keys(required=(), optional=("locked", "hidden", "order", "accepted"))
        standing = Standing(
            frozenset(_integers(node, "locked")),
            frozenset(_integers(node, "hidden")),
            _integers(node, "order"),
        )
        if "accepted" in node:
            accepted = _accepted_from_json(node.get("accepted"))
    elsewhere: dict[View, Told] = {}
    scores = {view: _scores_from_json(root.get("scores"))}
    for item in root.get("elsewhere").items() if "elsewhere" in root else ():
        item.keys(required=("view", "objects", "accepted", "scores"))
        other = view_from_json(item.get("view"))
        entries = objects_from_json(item.get("objects").value, f"{item.where}.objects", masks)
        elsewhere[other] = Told(entries, _accepted_from_json(item.get("accepted")))
        scores[other] = _scores_from_json(item.get("scores"))
    return State(view, Told(prompts, accepted), elsewhere, standing), scores


def window_from_json(node: Node) -> tuple[float, ...]:
    """Return a low and a high, of blended channels one pair after the other."""
    numbers = tuple(item.number() for item in node.items())
    if not numbers or len(numbers) % 2:
        raise node.error("must be [low, high], of blended channels a pair for each")
    return numbers


def run_to_json(run: RunRecord, masks: MaskFile) -> dict[str, Any]:
    """Return a run."""
    content: dict[str, Any] = {"kind": run.kind, "objects": objects_to_json(run.prompts, masks)}
    if run.view is not None:
        content["view"] = _view_to_json(run.view)
    if run.channel is not None:
        content["channel"] = list(run.channel)
    if run.level:
        content["level"] = run.level
    if run.kind == "write":
        return content | {"writes": [_write_to_json(w, masks) for w in run.writes]}
    if run.window is not None:
        content["window"] = list(run.window)
    if run.corrections:
        content["corrections"] = [
            {"id": i, "frames": sorted(rounds), "rounds": [rounds[f] for f in sorted(rounds)]}
            for i, rounds in sorted(run.corrections.items())
        ]
    if run.model is not None:
        content["model"] = asdict(run.model)
    if run.kept != Kept():
        content["kept"] = _kept_to_json(run.kept)
    if run.zoom != "off":
        content["zoom"] = run.zoom
    if run.kind == "segment":
        return content | {"frame": run.frame, "updates": run.updates}
    if run.kind == "propagate":
        span = {"direction": run.direction, "start": run.start, "stop": run.stop}
        patience = {} if run.patience is None else {"patience": run.patience}
        return content | span | patience | {"updates": run.updates}
    return content


def run_from_json(node: Node, where: str, masks: MaskFile) -> RunRecord:
    """Return a run (`ReadError` if it is none)."""
    optional = {f.name for f in fields(RunRecord)} - {"kind", "prompts"}
    node.keys(required=("kind", "objects"), optional=tuple(sorted(optional)))
    kind = node.get("kind").string()
    direction = node.get("direction").string() if "direction" in node else "both"
    zoom = node.get("zoom").string() if "zoom" in node else "off"
    if kind not in _KINDS or direction not in _DIRECTIONS or zoom not in _ZOOMS:
        raise node.error(f"is no run: kind {kind!r}, direction {direction!r}, zoom {zoom!r}")
    return RunRecord(
        kind=cast("Any", kind),
        prompts=objects_from_json(node.get("objects").value, f"{where}.objects", masks),
        frame=_optional(node, "frame"),
        direction=cast("Any", direction),
        start=_optional(node, "start"),
        stop=_optional(node, "stop"),
        updates=_optional(node, "updates") or 0,
        window=window_from_json(node.get("window")) if "window" in node else None,
        corrections=_corrections_from_json(node.get("corrections"))
        if "corrections" in node
        else {},
        model=_model_from_json(node.get("model")) if "model" in node else None,
        view=view_from_json(node.get("view")) if "view" in node else None,
        channel=_integers(node, "channel") if "channel" in node else None,
        level=_optional(node, "level") or 0,
        kept=_kept_from_json(node.get("kept")) if "kept" in node else Kept(),
        patience=_optional(node, "patience"),
        zoom=cast("Any", zoom),
        writes=tuple(_write_from_json(w, masks) for w in node.get("writes").items())
        if "writes" in node
        else (),
    )


def scores_to_json(scores: Mapping[int, NDArray[np.float64]]) -> dict[str, Any]:
    """Return scores, null where an object was not segmented."""
    return {
        str(i): [None if np.isnan(v) else float(v) for v in values] for i, values in scores.items()
    }


def view_from_json(node: Node) -> View:
    """Return a view (`ReadError` if it is none)."""
    node.keys(required=("axis", "at"))
    return View(_optional(node, "axis"), _integers(node, "at"))


def _view_to_json(view: View) -> dict[str, Any]:
    return {"axis": view.axis, "at": list(view.at)}


def _scores_from_json(node: Node) -> _Scores:
    found = {}
    for key in node.mapping():
        values = [np.nan if v.value is None else v.number() for v in node.get(key).items()]
        found[_id(node, key)] = np.array(values, dtype=np.float64)
    return found


def _accepted_to_json(accepted: frozenset[tuple[int, int]]) -> list[dict[str, Any]]:
    frames: dict[int, list[int]] = {}
    for object_id, frame in sorted(accepted):
        frames.setdefault(object_id, []).append(frame)
    return [{"id": object_id, "frames": found} for object_id, found in frames.items()]


def _accepted_from_json(node: Node) -> frozenset[tuple[int, int]]:
    found = set()
    for item in node.items():
        item.keys(required=("id", "frames"))
        object_id = item.get("id").integer()
        found |= {(object_id, frame) for frame in _integers(item, "frames")}
    return frozenset(found)


def _kept_to_json(kept: Kept) -> dict[str, Any]:
    accepted = [
        {"view": _view_to_json(view), "objects": _accepted_to_json(pairs)}
        for view, pairs in kept.accepted.items()
    ]
    return {"locked": sorted(kept.locked), "accepted": accepted, "order": list(kept.order)}


def _kept_from_json(node: Node) -> Kept:
    node.keys(required=("locked", "accepted", "order"))
    accepted = {}
    for item in node.get("accepted").items():
        item.keys(required=("view", "objects"))
        accepted[view_from_json(item.get("view"))] = _accepted_from_json(item.get("objects"))
    return Kept(frozenset(_integers(node, "locked")), accepted, _integers(node, "order"))


def _write_to_json(write: Write, masks: MaskFile) -> dict[str, Any]:
    content: dict[str, Any] = {"id": write.object_id, "frame": write.frame}
    if write.view is not None:
        content["view"] = _view_to_json(write.view)
    content["score"] = None if np.isnan(write.score) else plain_number(write.score)
    if write.bbox[2] > write.bbox[0]:
        content["box"] = list(write.bbox)
        content["file"], content["key"] = masks.add(write.update().mask)
    return content


def _write_from_json(node: Node, masks: MaskFile) -> Write:
    node.keys(required=("id", "frame", "score"), optional=("view", "box", "file", "key"))
    box, mask = (0, 0, 0, 0), np.zeros((0, 0), dtype=bool)
    if "box" in node:
        y0, x0, y1, x1 = box = cast("Any", _integers(node, "box"))
        key = node.get("key").string() if "key" in node else None
        mask = masks.load(node.get("file").string(), key, node.error)
        if mask.shape != (y1 - y0, x1 - x0):
            raise node.error(f"the mask is {mask.shape}, its box {y1 - y0} x {x1 - x0}")
    score = node.get("score")
    return Write.of(
        MaskUpdate(
            node.get("frame").integer(),
            node.get("id").integer(),
            box,
            mask,
            np.nan if score.value is None else score.number(),
            view_from_json(node.get("view")) if "view" in node else None,
        )
    )


def _model_from_json(node: Node) -> ModelChoice:
    node.keys(required=[f.name for f in fields(ModelChoice)])
    checkpoint = node.get("checkpoint")
    return ModelChoice(
        model=node.get("model").string(),
        checkpoint=None if checkpoint.value is None else checkpoint.string(),
        image_size=_optional(node, "image_size"),
        precision=node.get("precision").string(),
        memory=node.get("memory").string(),
    )


def _corrections_from_json(node: Node) -> dict[int, dict[int, int]]:
    found: dict[int, dict[int, int]] = {}
    for item in node.items():
        item.keys(required=("id", "frames"), optional=("rounds",))
        frames, rounds = _integers(item, "frames"), _integers(item, "rounds")
        if rounds and len(rounds) != len(frames):
            raise item.error(f"{len(frames)} frames have {len(rounds)} rounds")
        found[item.get("id").integer()] = dict(
            zip(frames, rounds or (1,) * len(frames), strict=True)
        )
    return found


def _integers(node: Node, key: str) -> tuple[int, ...]:
    if key not in node:
        return ()
    return tuple(item.integer() for item in node.get(key).items())


def _optional(node: Node, key: str) -> int | None:
    if key not in node or node.get(key).value is None:
        return None
    return node.get(key).integer()


def _id(node: Node, key: str) -> int:
    if not key.isdigit():
        raise node.error(f"{key!r} is no object id")
    return int(key)
