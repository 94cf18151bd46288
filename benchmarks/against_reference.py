"""SAM 2's own video predictor and ours side by side: time, memory, clicks, and the same masks.

    python benchmarks/against_reference.py [--model tiny|large] [--image-size 512] [--frames 60]
        [--objects 1 4 8] [--repeats 1] [--chunk 4] [--precision auto|fp32|bf16|fp16]
        [--device cpu|cuda] [--checkpoint FILE] [--threads N] [--cache MB] [--masks-only]

Both run in one process on the same weights and frames and take turns, a few frames each, so that
other work on the machine slows both alike: read the ratios, which are the median over the turns.
"Of sums" is the ratio of whole runs, with the prompted frame. The reference computes as it does by
default: fp32 on a CPU, under bf16 autocast on a GPU. Its frames are preprocessed before the clock
starts; ours are made, read, windowed and preprocessed while it runs.

Ours settles overlaps, rates each mask, writes it into the array of labels and journals the step,
all on the CPU, which the reference leaves to whoever asks it. Masks that look like noise make that
dear, and on a GPU it shows: --masks-only compares the trackers alone, each up to its masks, and
"writing" is what the rest takes with discs for masks.

"First" begins with nothing. "Again" propagates from other boxes over the same frames. We keep every
embedding, and also every track under the prompts that it came from: other boxes make sure that only
the embeddings help. The reference keeps nothing but one frame's features, so its second run, after
reset_state, is a full one.

Memory is what a turn has added to the resident set after garbage collection (on a GPU: to what
torch has allocated there), the first frames left out. The cache of ours is given apart, because it
ends at its cap. The array of labels is there from the start.

Random weights make masks that look like noise, where rounding flips more pixels than in real ones;
in fp32 they are the reference's all the same. "Area inside" shows that they are not empty. Judge
bf16 by a real --checkpoint.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import statistics
import sys
import time
from collections import deque
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

# Idle OpenMP threads that spin steal the cores of other work; only read before torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import psutil
import torch
from _sam2 import CONFIGS, Movie, iou, named, ours, weights
from sam2.build_sam import build_sam2_video_predictor

from napari_medsam2 import Session
from napari_medsam2.labels import LabelStore
from napari_medsam2.models import PRECISIONS
from napari_medsam2.models.base import Prediction
from napari_medsam2.models.device import choose_device
from napari_medsam2.models.sam2_prompts import preprocess
from napari_medsam2.tracking.contest import Contest
from napari_medsam2.tracking.streamed import StreamedSweeps
from napari_medsam2.tracking.sweeps import Request
from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_medsam2.models.device import Device

CLICKS, WARM_UP = 15, 2
MB = 1e6


@dataclass(frozen=True)
class Turn:
    """A few frames of one side; the first turn of a run is the prompted frame alone."""

    run: str
    number: int
    frames: int
    seconds: float
    added: int | None = None


def allocated(device: Device) -> int:
    return torch.cuda.memory_allocated(device.torch) if device.torch.type == "cuda" else 0


def held(device: Device) -> int:
    """Return the memory in use: what is freed goes back first, or both sides would share it."""
    gc.collect()
    if device.torch.type == "cuda":
        return allocated(device)
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)
    return int(psutil.Process().memory_info().rss)


@dataclass
class Side:
    """What one side took and added.

    `own` and `peak` are bytes on a GPU: of its tensors between turns, and at most.
    """

    device: Device
    weights: int
    own: int = 0
    peak: int = 0
    turns: list[Turn] = field(default_factory=list)

    @contextmanager
    def turn(self, run: str, number: int, frames: int, *, weigh: bool) -> Iterator[None]:
        on_gpu = self.device.torch.type == "cuda"
        before = held(self.device) if weigh else 0
        if on_gpu:
            torch.cuda.synchronize(self.device.torch)
            torch.cuda.reset_peak_memory_stats(self.device.torch)
        at_first = allocated(self.device)
        begin = time.perf_counter()
        yield
        if on_gpu:
            torch.cuda.synchronize(self.device.torch)
        seconds = time.perf_counter() - begin
        if on_gpu:
            # The other side's tensors lie on the same device and do not count.
            most = torch.cuda.max_memory_allocated(self.device.torch)
            self.peak = max(self.peak, most - at_first + self.own)
            self.own += allocated(self.device) - at_first
        added = held(self.device) - before if weigh else None
        self.turns.append(Turn(run, number, frames, seconds, added))

    def per_frame(self, run: str) -> list[float]:
        """Return seconds a frame of every turn but those of prompted frames."""
        return [t.seconds / t.frames for t in self.turns if t.run == run and t.number]

    def total(self, run: str) -> float:
        return sum(turn.seconds for turn in self.turns if turn.run == run)

    def growth(self) -> float:
        """Return bytes a frame."""
        weighed = [(t.added, t.frames) for t in self.turns if t.added is not None]
        return sum(added for added, _ in weighed) / sum(frames for _, frames in weighed)


class Pair:
    """The reference and our model with the same weights, and the frames for both."""

    def __init__(self, options: argparse.Namespace) -> None:
        size = options.image_size
        self.device = choose_device(options.device)
        net = weights(options.model, size, options.checkpoint)
        self.reference = build_sam2_video_predictor(
            CONFIGS[options.model],
            None,
            device=self.device.name,
            hydra_overrides_extra=[f"++model.image_size={size}"],
        )
        self.reference.load_state_dict(net.state_dict())
        # Without its CUDA extension it can fill no holes, and says so on every frame.
        self.reference.fill_hole_area = 0
        self.movie = Movie(options.frames, size, max(options.objects))
        self.images = torch.empty(options.frames, 3, size, size, device=self.device.torch)
        for frame in range(options.frames):
            self.images[frame] = preprocess(self.movie[frame].astype(np.float32), size)[0]
        self.its_weights = allocated(self.device)
        self.model = ours(net, self.device, options.precision)
        self.our_weights = allocated(self.device) - self.its_weights

    def session(self, cache: float) -> Session:
        # Written to once, so that its memory is there before anything is weighed.
        labels = np.empty(self.movie.shape, dtype=np.uint16)
        labels.fill(0)
        volume = Volume(self.movie, "tyx")
        session = Session(volume, window=(0, 255), cache=cache, labels=labels)
        session.use_model(self.model)
        return session

    def state(self) -> Any:
        loaded = (self.images, *self.movie.shape[1:])
        loading = mock.patch("sam2.sam2_video_predictor.load_video_frames", return_value=loaded)
        with loading, self.as_published():
            return self.reference.init_state("none")

    @contextmanager
    def as_published(self) -> Iterator[None]:
        """Compute as the reference does by default, without its progress bar."""
        on_gpu = self.device.torch.type == "cuda"
        # Ours has turned it off, see `SAM2.of`.
        torch.backends.cuda.enable_cudnn_sdp(True)
        try:
            with (
                torch.autocast("cuda", dtype=torch.bfloat16) if on_gpu else nullcontext(),
                mock.patch("sam2.sam2_video_predictor.tqdm", lambda frames, **_: frames),
            ):
                yield
        finally:
            torch.backends.cuda.enable_cudnn_sdp(not on_gpu)


class Race:
    """Both sides propagate so many objects from frame 0 on, in turns."""

    def __init__(self, pair: Pair, objects: int, options: argparse.Namespace) -> None:
        self.pair = pair
        self.objects = objects
        self.options = options
        self.its = Side(pair.device, pair.its_weights)
        self.ours = Side(pair.device, pair.our_weights)
        self.agreement: dict[str, list[tuple[float, float]]] = {}
        self.cached: list[float] = []

    def repeat(self) -> None:
        """Run first and again, from nothing."""
        self.session, self.state = self.pair.session(self.options.cache), None
        self.its.own, self.ours.own = self.its.weights, self.ours.weights
        for run in ("first", "again"):
            self._run(run)
        del self.session, self.state

    def _run(self, run: str) -> None:
        n, side, _ = self.pair.movie.shape
        smaller = 0 if run == "first" else side // 64 + 1
        boxes = {i + 1: self.pair.movie.box(i, smaller=smaller) for i in range(self.objects)}
        kept = np.full((n, self.objects, side, side // 8), 255, dtype=np.uint8)
        chunk = self.options.chunk
        counts = [1, *(min(chunk, n - start) for start in range(1, n, chunk))]
        for number, count in enumerate(counts):
            # Working space is made on the first frames, and stays.
            weigh = run == "first" and number > 1
            with self.its.turn(run, number, count, weigh=weigh), self.pair.as_published():
                if number == 0:
                    published = self._start_published(boxes)
                for frame, _, logits in islice(published, count):
                    kept[frame] = np.packbits((logits[:, 0] > 0).cpu().numpy(), axis=-1)
                del logits
            cached = self.session.cache.nbytes
            with self.ours.turn(run, number, count, weigh=weigh):
                if number == 0:
                    updates = self._start_ours(boxes)
                deque(islice(updates, count * self.objects), maxlen=0)
            if weigh:
                self.cached.append((self.session.cache.nbytes - cached) / count)
        assert next(updates, None) is None
        assert next(published, None) is None
        self.agreement.setdefault(run, []).extend(self._agree(kept))

    def _start_published(self, boxes: dict[int, tuple[int, ...]]) -> Iterator[Any]:
        reference = self.pair.reference
        if self.state is None:
            self.state = self.pair.state()
        reference.reset_state(self.state)
        for i, (y0, x0, y1, x1) in boxes.items():
            # It takes the last pixel of a box, not the one behind it.
            reference.add_new_points_or_box(self.state, 0, i, box=[x0, y0, x1 - 1, y1 - 1])
        published: Iterator[Any] = reference.propagate_in_video(self.state)
        return published

    def _start_ours(self, boxes: dict[int, tuple[int, ...]]) -> Iterator[Any]:
        self.session.clear_prompts()
        for i, box in boxes.items():
            self.session.add_box(0, box, i)
        return self._masks() if self.options.masks_only else self.session.propagate("forward")

    def _masks(self) -> Iterator[Any]:
        session = self.session
        frames = range(self.pair.movie.shape[0])
        for carried in StreamedSweeps(Request(session.encoder, session.prompts, "forward", frames)):
            yield from (found and found.mask for found in carried.predictions.values())

    def _agree(self, kept: np.ndarray) -> Iterator[tuple[float, float]]:
        """Yield IoU, and the part of the frame that is inside, by frame and object.

        Our masks come once more out of the cache, before objects compete for pixels.
        """
        session, n = self.session, len(kept)
        nothing = np.zeros(self.pair.movie.shape[1:], dtype=bool)
        request = Request(session.encoder, session.prompts, "forward", range(n))
        for carried in StreamedSweeps(request):
            for i, found in carried.predictions.items():
                its = np.unpackbits(kept[carried.frame, i - 1], axis=-1) > 0
                yield iou(its, nothing if found is None else found.mask), float(its.mean())

    def row(self, run: str) -> str:
        its, ours = self.its.per_frame(run), self.ours.per_frame(run)
        ratio = statistics.median(b / a for a, b in zip(its, ours, strict=True))
        seconds = statistics.median(its), statistics.median(ours)
        overlaps, shares = zip(*self.agreement[run], strict=True)
        return (
            f"{self.objects:7}  {run:5}  {1e3 * seconds[0]:9.1f}  {1e3 * seconds[1]:7.1f}  "
            f"{1 / seconds[0]:9.2f}  {1 / seconds[1]:6.2f}  {ratio:5.2f}  "
            f"{self.ours.total(run) / self.its.total(run):7.2f}  {statistics.mean(overlaps):7.4f}  "
            f"{min(overlaps):6.4f}  {statistics.mean(shares):6.0%}"
        )

    def memory(self) -> str:
        if not self.cached:
            return f"{self.objects:7}  too few frames"
        frames = self.pair.images[0].nbytes / MB
        cached = statistics.mean(self.cached) / MB
        grown = self.ours.growth() / MB
        text = (
            f"{self.objects:7}  {self.its.growth() / MB:9.2f}  {frames:13.2f}  {grown:7.2f}  "
            f"{cached:12.2f}  {grown - cached:7.2f}"
        )
        if self.pair.device.torch.type == "cuda":
            text += f"  {self.its.peak / MB:9.0f}  {self.ours.peak / MB:7.0f}"
        return text


def clicks(pair: Pair, cache: float) -> tuple[list[float], list[float]]:
    """Return seconds for a click on frame 0, which both have encoded, in turns."""
    session, state = pair.session(cache), pair.state()
    session.encoder(0)
    its, mine = Side(pair.device, 0), Side(pair.device, 0)
    y0, x0, y1, x1 = pair.movie.box(0)
    points = np.random.default_rng(0).uniform((y0, x0), (y1, x1), (WARM_UP + CLICKS, 2))
    for number, (y, x) in enumerate(points):
        with its.turn("click", number, 1, weigh=False), pair.as_published():
            _, _, logits = pair.reference.add_new_points_or_box(
                state, 0, 1, points=[[x, y]], labels=np.array([1], np.int32)
            )
            (logits > 0).cpu().numpy()
        with mine.turn("click", number, 1, weigh=False):
            session.clear_prompts()
            session.add_points(0, [(y, x)])
            session.segment(0)
    return tuple([t.seconds for t in side.turns[WARM_UP:]] for side in (its, mine))


def writing(movie: Movie, objects: int) -> float:
    """Return seconds to settle and write the masks of a frame, if they are discs."""
    n, side, _ = movie.shape
    y, x = np.ogrid[:side, :side]
    store = LabelStore(np.zeros(movie.shape, dtype=np.uint16))
    taken = []
    for frame in range(min(n, WARM_UP + CLICKS)):
        found = {}
        for disc in range(objects):
            y0, x0, y1, x1 = movie.box(disc, frame)
            away = np.hypot(y - (y0 + y1) / 2, x - (x0 + x1) / 2)
            found[disc + 1] = Prediction(((y1 - y0) / 2 - away).astype(np.float32), 0.9, 5.0)
        begin = time.perf_counter()
        for update in Contest().settle(frame, found, keep=False):
            store.apply(update)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=tuple(CONFIGS), default="tiny")
    parser.add_argument("--image-size", type=int, default=512, help="side of frames and input")
    parser.add_argument("--frames", type=int, default=60, help="at least 2")
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--chunk", type=int, default=4, help="frames a turn")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="of ours")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--checkpoint", type=Path, help="weights instead of random ones")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cache", type=float, default=4096, help="megabytes of embeddings")
    parser.add_argument("--masks-only", action="store_true", help="without labels and journal")
    options = parser.parse_args()
    if options.frames < 2:
        parser.error("--frames: there must be at least 2")
    if options.threads:
        torch.set_num_threads(options.threads)

    pair = Pair(options)
    on_gpu = pair.device.torch.type == "cuda"
    where = torch.cuda.get_device_name(pair.device.torch) if on_gpu else "CPU"
    print(
        f"{named(options.model, options.checkpoint)}, {options.image_size} px, {options.frames} "
        f"frames, {options.repeats} repeat(s); torch {torch.__version__} on {where}, "
        f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}\n"
        f"reference in {'bf16 autocast' if on_gpu else 'fp32'}, ours in {pair.model.precision}"
    )
    its, mine = (np.array(side) for side in clicks(pair, options.cache))
    print(
        f"click on an embedded frame, median of {CLICKS}: reference {1e3 * np.median(its):.1f} ms, "
        f"ours {1e3 * np.median(mine):.1f} ms, ratio {np.median(mine / its):.2f}"
    )
    print(f"\n{'ms a frame':>32} {'frames a second':>19} {'IoU of masks':>29} {'area':>6}")
    print(
        "objects  run    reference     ours  reference    ours  ratio  of sums     mean   worst"
        "  inside"
    )
    races = []
    for objects in options.objects:
        race = Race(pair, objects, options)
        for _ in range(options.repeats):
            race.repeat()
        for run in ("first", "again"):
            print(race.row(run), flush=True)
        races.append(race)
    print(
        "\nMB a frame, first run"
        + (" (peak MB)" if on_gpu else "")
        + "\nobjects  reference  + its frames     ours  of it cached  besides"
        + ("  reference     ours" if on_gpu else "")
    )
    for race in races:
        print(race.memory())
    each = ", ".join(f"{n}: {1e3 * writing(pair.movie, n):.1f}" for n in options.objects)
    print(f"writing discs into the labels, ms a frame of so many objects: {each}")
    print(f"our cache ends at {options.cache:g} MB; the reference loads all frames at the start")


if __name__ == "__main__":
    main()
