"""How SAM 2, SAM 2.1 and MedSAM2 are fine-tuned: the parts that the papers train, on clips.

Ma et al., "Segment anything in medical images and videos: benchmark and deployment" (2024), train
the image encoder and the mask decoder and leave the prompt encoder as it is; so do Yan et al.,
"Biomedical SAM 2" (2024). Prompts and corrections are imitated as in Ravi et al., "SAM 2: Segment
Anything in Images and Videos" (2024), section D.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from napari_medsam2.errors import InputError
from napari_medsam2.evaluation.metrics import dice
from napari_medsam2.masks import bounding_box

from .interaction import blurred_mask, error_click, first_click, loose_box
from .losses import Weights, best_losses
from .recipe import Group
from .sam2_steps import Follower, encode, tight_boxes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from .frames import Course, Frames
    from .sam2_steps import Answer, Points

__all__ = ["PARTS", "Part", "SAM2Recipe"]

Part = Literal["decoder", "memory", "encoder"]

# What each part is made of. The prompt encoder is in none.
_NAMES: dict[Part, tuple[str, ...]] = {
    "decoder": ("sam_mask_decoder.", "obj_ptr_proj.", "no_obj_ptr"),
    "memory": (
        "memory_attention.",
        "memory_encoder.",
        "maskmem_tpos_enc",
        "no_mem_embed",
        "no_obj_embed_spatial",
        "obj_ptr_tpos_proj.",
    ),
    "encoder": ("image_encoder.",),
}
PARTS: tuple[Part, ...] = tuple(_NAMES)
_ENCODER_SHARE = 0.1
_KINDS, _SHARES = ("box", "click", "mask"), (0.4, 0.35, 0.25)
_CORRECTIONS = 3
# How often a frame that was tracked is corrected, and by how many clicks at most.
_LATER, _LATER_CLICKS = 0.3, 2
_BLUR = 5
"""Pixels of a square of 256 by which a given mask may be wrong."""
_JUDGED_OF_A_DATASET = 10


@dataclass(frozen=True, eq=False)
class _Levels:
    """What the encoder says of the frames of a clip, in half precision."""

    levels: tuple[Tensor, ...] = field(repr=False)

    @property
    def nbytes(self) -> int:
        return sum(int(level.nbytes) for level in self.levels)


class SAM2Recipe:
    """Trains parts of a SAM 2 on courses of up to eight frames.

    The objects of a course are prompted on its first frame by boxes, clicks or masks, sometimes
    corrected, and then followed by memory, absent or not; one later frame may be corrected, too.

    Parameters
    ----------
    net : SAM2Base
        With the weights to begin with.
    train, val : Frames
        At the network's image size.
    device : torch.device
    parts : iterable of {"decoder", "memory", "encoder"}
        What is learnt: the mask decoder with the heads for presence and object pointers; memory
        attention, memory encoder and their encodings of time; the image encoder, at a tenth of the
        rate. An encoder that is not learnt sees each frame once, as far as `Frames` keeps it.
    size : int
        Courses of a batch. They are followed one after the other, so memory is needed for one.
    rate : float
        The highest learning rate.
    half : bool
        Whether the network runs in bf16 (autocast).

    Raises
    ------
    InputError
        For parts that there are not, or none, or frames of another size.
    """

    def __init__(
        self,
        net: Any,
        train: Frames,
        val: Frames,
        device: torch.device,
        *,
        parts: Iterable[str] = ("decoder",),
        size: int = 1,
        rate: float = 5e-5,
        half: bool = True,
    ) -> None:
        self.parts = _checked_parts(parts)
        for frames in (train, val):
            if frames.size != net.image_size:
                raise InputError(
                    f"frames of {frames.size} pixels were prepared for a network of "
                    f"{net.image_size}; give both the same image size"
                )
        self.net = net.to(device).requires_grad_(False)
        self.device, self.size, self.half = device, size, half
        self._rate, self._train, self._val = rate, train, val
        self._weights = Weights() if net.pred_obj_scores else Weights(presence=0.0)
        self._judged = val.judged(_JUDGED_OF_A_DATASET)
        if not self._judged:
            raise InputError("no clip that is held back shows an object that is large enough")
        for group in self.groups():
            for parameter in group.parameters:
                parameter.requires_grad_(True)

    @property
    def module(self) -> torch.nn.Module:
        """The network."""
        net: torch.nn.Module = self.net
        return net

    def groups(self) -> list[Group]:
        """Return the weights of the parts that are learnt."""
        named = list(self.net.named_parameters())
        groups = []
        for part in self.parts:
            own = tuple(p for name, p in named if name.startswith(_NAMES[part]))
            groups.append(Group(own, self._rate * (_ENCODER_SHARE if part == "encoder" else 1.0)))
        return groups

    def weights(self) -> dict[str, Tensor]:
        """Return all weights, as a checkpoint of SAM 2 holds them under "model"."""
        state = self.net.state_dict()
        return {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}

    def batch(self, rng: np.random.Generator) -> tuple[list[Course], np.random.Generator]:
        """Draw courses; the clicks on them are drawn when there is something to correct."""
        return [self._train.draw(rng) for _ in range(self.size)], rng

    def accumulate(self, batch: tuple[list[Course], np.random.Generator]) -> dict[str, float]:
        """Follow the objects of each course; every answer counts alike."""
        courses, rng = batch
        self._set_to_learn()
        told: dict[str, float] = {}
        for course in courses:
            truth = self._truth(self._train, course)
            with self._lowered():
                follower = Follower(self.net, self._levels(self._train, course), truth.shape[1])
                answers = self._answers(follower, truth, rng)
                found = [
                    best_losses(
                        follower.enlarged(answer.logits),
                        answer.ious,
                        answer.scores,
                        torch.from_numpy(truth[frame]).to(self.device).float(),
                        self._weights,
                    )
                    for frame, answer in answers
                ]
            share = 1 / (len(found) * len(courses))
            total = torch.stack([losses["loss"] for losses in found]).sum() * share
            total.backward()  # type: ignore[no-untyped-call]
            for losses in found:
                for name, value in losses.items():
                    told[name] = told.get(name, 0.0) + float(value.detach()) * share
        return told

    def validate(self) -> dict[str, float]:
        """Follow objects that are held back from a box on the first frame that shows them.

        Returns
        -------
        dict
            Means over data sets: "score", Dice over all frames from the prompted one on (1 where an
            absent object is not found, 0 where it is); "box", Dice on the prompted frame;
            "presence", how often it is right whether the object is there.
        """
        self.net.eval()
        found: dict[str, list[NDArray[np.float64]]] = {}
        # Not inference mode: the network keeps position encodings, which training needs again.
        with torch.no_grad():
            for dataset, courses in self._judged.items():
                found[dataset] = [self._scores(course) for course in courses]
        score, box, presence = np.mean([np.mean(own, axis=0) for own in found.values()], axis=0)
        return {"score": float(score), "box": float(box), "presence": float(presence)}

    # Inside

    def _lowered(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half)

    def _set_to_learn(self) -> None:
        self.net.train()
        # No dropout in what stays as it is.
        if "memory" not in self.parts:
            self.net.memory_attention.eval()
            self.net.memory_encoder.eval()
        if "encoder" not in self.parts:
            self.net.image_encoder.eval()

    def _truth(self, frames: Frames, course: Course) -> NDArray[np.bool_]:
        """Return where the objects are, (T, N, S, S)."""
        labels = frames.show(course.clip).labels[list(course.frames)]
        truth: NDArray[np.bool_] = np.stack([labels == v for v in course.objects], axis=1)
        return truth

    def _levels(self, frames: Frames, course: Course) -> tuple[Tensor, ...]:
        """Encode the frames of a course."""
        if "encoder" in self.parts:
            images = frames.show(course.clip).images[list(course.frames)]
            return encode(self.net, images.to(self.device).float())
        kept = frames.kept.get(("levels", course.clip), lambda: self._encoded(frames, course.clip))
        chosen = (level[list(course.frames)].to(self.device) for level in kept.levels)
        return tuple(level if self.half else level.float() for level in chosen)

    def _encoded(self, frames: Frames, clip: Any) -> _Levels:
        """Encode a whole clip, frame by frame: each answers as it would alone."""
        images = frames.show(clip).images
        with torch.no_grad():
            one = [encode(self.net, image[None].to(self.device).float()) for image in images]
        return _Levels(tuple(torch.cat(level).half().cpu() for level in zip(*one, strict=True)))

    def _answers(
        self, follower: Follower, truth: NDArray[np.bool_], rng: np.random.Generator
    ) -> list[tuple[int, Answer]]:
        """Prompt, correct and follow; return the answers that the network gave of itself."""
        kind = _KINDS[int(rng.choice(len(_KINDS), p=_SHARES))]
        later = int(rng.integers(1, len(truth))) if len(truth) > 1 else 0
        later = later if rng.random() < _LATER else 0
        if kind == "mask" and len(truth) > 1:
            follower.keep(0, follower.take(self._masks(truth[0], rng)), prompted=True)
            answers = []
        else:
            points = self._first(kind, truth[0], rng)
            answers = [(0, follower.start(points))]
            clicks = int(rng.integers(_CORRECTIONS + 1))
            answers += self._corrected(follower, 0, answers[0][1], points, truth[0], clicks, rng)
            follower.keep(0, answers[-1][1], prompted=True)
        for frame in range(1, len(truth)):
            answers.append((frame, follower.track(frame)))
            clicks = int(rng.integers(1, _LATER_CLICKS + 1)) if frame == later else 0
            answers += self._corrected(
                follower, frame, answers[-1][1], None, truth[frame], clicks, rng
            )
            follower.keep(frame, answers[-1][1], prompted=clicks > 0)
        return answers

    def _corrected(
        self,
        follower: Follower,
        frame: int,
        answer: Answer,
        points: Points | None,
        truth: NDArray[np.bool_],
        clicks: int,
        rng: np.random.Generator,
    ) -> list[tuple[int, Answer]]:
        answers = []
        for _ in range(clicks):
            found = (follower.enlarged(answer.mask.detach())[:, 0] > 0).cpu().numpy()
            new = self._clicked([error_click(f, t, rng) for f, t in zip(found, truth, strict=True)])
            points = new if points is None else _joined(points, new)
            answer = follower.correct(frame, answer, points)
            answers.append((frame, answer))
        return answers

    def _first(self, kind: str, truth: NDArray[np.bool_], rng: np.random.Generator) -> Points:
        if kind == "click":
            return self._clicked([first_click(t, rng) for t in truth])
        boxes = np.stack([loose_box(t, rng) for t in truth])
        return tight_boxes(torch.from_numpy(boxes).to(self.device))

    def _masks(self, truth: NDArray[np.bool_], rng: np.random.Generator) -> Tensor:
        most = max(2, round(_BLUR * self.net.image_size / 256))
        masks = np.stack([blurred_mask(t, rng, most=most) for t in truth])
        return torch.from_numpy(masks)[:, None].to(self.device).float()

    def _clicked(self, clicks: Sequence[tuple[float, float, int]]) -> Points:
        values = torch.tensor(clicks, dtype=torch.float32, device=self.device)[:, None]
        return values[..., :2].contiguous(), values[..., 2].int()

    def _scores(self, course: Course) -> NDArray[np.float64]:
        """Return the mean Dice of an object, its Dice on the first frame, and its presence."""
        truth = self._truth(self._val, course)
        y0, x0, y1, x1 = bounding_box(truth[0, 0])
        box = torch.tensor([[x0, y0, x1 - 1, y1 - 1]], device=self.device)
        masks = []
        with self._lowered():
            follower = Follower(self.net, self._levels(self._val, course), 1)
            for frame in range(len(truth)):
                answer = follower.track(frame) if frame else follower.start(tight_boxes(box))
                follower.keep(frame, answer, prompted=not frame)
                masks.append((follower.enlarged(answer.mask)[0, 0] > 0).cpu().numpy())
        dices = [dice(mask, true) for mask, true in zip(masks, truth[:, 0], strict=True)]
        right = [bool(m.any()) == bool(t.any()) for m, t in zip(masks, truth[:, 0], strict=True)]
        return np.array([np.mean(dices), dices[0], np.mean(right)])


def _joined(points: Points, more: Points) -> Points:
    return torch.cat([points[0], more[0]], dim=1), torch.cat([points[1], more[1]], dim=1)


def _checked_parts(parts: Iterable[str]) -> tuple[Part, ...]:
    wanted = tuple(parts)
    unknown = [part for part in wanted if part not in PARTS]
    if unknown or not wanted:
        what = f"there is no part {unknown[0]!r}" if unknown else "no part is to be learnt"
        raise InputError(f"{what}; choose among {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in wanted)
