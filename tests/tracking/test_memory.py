"""What the memory banks keep and give, on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medsam2.errors import InputError
from napari_medsam2.models.base import MemoryRules, Trace
from napari_medsam2.tracking.memory import Sam2Bank, closest_conditioning, make_bank
from napari_medsam2.tracking.self_sorting import SelfSortingBank


def trace(frame: float, iou: float = 0.9, score: float = 5.0, memory: object = None) -> Trace:
    """Return a trace whose memory and pointer say which frame it is."""
    kept = torch.tensor([float(frame)]) if memory is None else torch.tensor(memory)
    return Trace(torch.zeros(1, 1), iou, score, torch.tensor([float(frame)]), kept.float())


def filled(frames: range, step: int = 1, n: int = 100, **rules: int) -> Sam2Bank:
    bank = Sam2Bank(MemoryRules(**rules), n, step)
    bank.condition(frames[0], trace(frames[0]))
    for frame in frames[1:]:
        bank.add(frame, trace(frame))
    return bank


def seen(recalled: object) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    memories = [(slot, int(m[0])) for slot, m in recalled.memories]
    return memories, [(distance, int(p[0])) for distance, p in recalled.pointers]


def test_a_frame_sees_the_prompt_six_memories_and_sixteen_pointers() -> None:
    memories, pointers = seen(filled(range(30)).recall(30))
    assert memories == [(0, 0), (1, 24), (2, 25), (3, 26), (4, 27), (5, 28), (6, 29)]
    assert pointers == [(30, 0), *((d, 30 - d) for d in range(1, 16))]


def test_backwards_is_the_mirror_image() -> None:
    memories, pointers = seen(filled(range(40, 10, -1), step=-1).recall(10))
    assert memories == [(0, 40), (1, 16), (2, 15), (3, 14), (4, 13), (5, 12), (6, 11)]
    assert pointers == [(30, 40), *((d, 10 + d) for d in range(1, 16))]


def test_with_a_stride_the_memories_lie_on_a_grid_but_the_last() -> None:
    # ((30 - 2) // 3) * 3 = 27, then every third before it; the last slot is the frame before.
    memories, _ = seen(filled(range(30), stride=3).recall(30))
    assert memories == [(0, 0), (1, 15), (2, 18), (3, 21), (4, 24), (5, 27), (6, 29)]


@pytest.mark.parametrize(("stride", "most"), [(1, 16), (3, 20), (5, 20)])
def test_the_bank_does_not_grow(stride: int, most: int) -> None:
    bank = Sam2Bank(MemoryRules(stride=stride), 5000, 1)
    bank.condition(0, trace(0))
    sizes = []
    for frame in range(1, 400):
        bank.add(frame, trace(frame))
        sizes.append(len(bank))
    assert max(sizes) <= most
    assert sizes[-1] == sizes[200]


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("step", [1, -1])
def test_forgetting_loses_nothing_that_is_read_later(stride: int, step: int) -> None:
    rules = MemoryRules(stride=stride)
    start = 0 if step > 0 else 99
    bank, hoarder = Sam2Bank(rules, 100, step), Sam2Bank(rules, 100, step)
    kept = {start: trace(start)}
    bank.condition(start, kept[start])
    hoarder.condition(start, kept[start])
    for frame in range(start + step, start + 60 * step, step):
        # A bank that never forgets: everything is put back before it is asked.
        hoarder._memories = {f: t.memory for f, t in kept.items() if f != start}
        hoarder._pointers = {f: t.pointer for f, t in kept.items() if f != start}
        assert seen(bank.recall(frame)) == seen(hoarder.recall(frame))
        kept[frame] = trace(frame)
        bank.add(frame, kept[frame])


def test_pointers_reach_no_farther_than_the_volume_has_frames() -> None:
    bank = filled(range(6), n=8)
    recalled = bank.recall(6)
    assert recalled.longest == 7
    assert [d for d, _ in recalled.pointers] == [6, 1, 2, 3, 4, 5]


def test_prompted_frames_ahead_are_seen_but_their_pointers_are_not() -> None:
    bank = filled(range(5))
    bank.condition(20, trace(20))
    memories, pointers = seen(bank.recall(5))
    assert (0, 20) in memories
    assert 20 not in [frame for _, frame in pointers]
    open_minded = Sam2Bank(MemoryRules(past_pointers_only=False), 100, 1)
    open_minded.condition(20, trace(20))
    assert seen(open_minded.recall(5))[1] == [(-15, 20)]


def test_the_closest_prompted_frames_are_chosen() -> None:
    prompted = {f: trace(f) for f in (0, 10, 20, 30, 90)}
    chosen, others = closest_conditioning(25, prompted, 3)
    # 20 is the closest before, 30 the closest after; 10 is nearer than 0 and 90.
    assert list(chosen) == [20, 30, 10]
    assert sorted(others) == [0, 90]
    assert closest_conditioning(25, prompted, -1) == (prompted, {})


def test_a_prompted_frame_that_is_not_chosen_still_counts_as_one_just_before() -> None:
    bank = Sam2Bank(MemoryRules(max_conditioning=2), 100, 1)
    for frame in (3, 4, 5, 30):
        bank.condition(frame, trace(frame))
    memories, pointers = seen(bank.recall(6))
    assert memories == [(0, 5), (0, 30), (4, 3), (5, 4)]
    assert pointers == [(1, 5), (2, 4), (3, 3)]


def test_one_conditioning_frame_is_too_few_to_choose_from() -> None:
    with pytest.raises(InputError, match="at least 2"):
        Sam2Bank(MemoryRules(max_conditioning=1), 10, 1)


# The self-sorting bank: memories are directions in the plane, images too.

IMAGES = {
    f: torch.tensor([np.cos(np.radians(10 * f)), np.sin(np.radians(10 * f))]) for f in range(19)
}


def direction(degrees: float) -> list[float]:
    return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]


def sorting(size: int = 3, worse: float = 0.1) -> SelfSortingBank:
    return SelfSortingBank(MemoryRules(memories=3), IMAGES.__getitem__, size=size, worse=worse)


def test_it_fills_up_first() -> None:
    bank = sorting()
    for frame, degrees in enumerate((0, 1, 2)):
        bank.add(frame, trace(frame, memory=direction(degrees)))
    assert bank.frames == (0, 1, 2)


def test_of_two_much_alike_the_older_neighbour_makes_room() -> None:
    bank = sorting()
    for frame, degrees in enumerate((0, 5, 90)):
        bank.add(frame, trace(frame, memory=direction(degrees)))
    # Least similar to 120 degrees is 0; its nearest neighbour, 5, is closer to it than 120 is.
    bank.add(3, trace(3, memory=direction(120)))
    assert bank.frames == (0, 2, 3)


def test_a_newcomer_that_adds_no_variety_is_not_kept() -> None:
    bank = sorting()
    for frame, degrees in enumerate((0, 60, 120)):
        bank.add(frame, trace(frame, memory=direction(degrees)))
    # Least similar to 50 is 120 (70 away); its neighbour 60 is 60 away, closer than 70: replaced.
    bank.add(3, trace(3, memory=direction(50)))
    assert bank.frames == (0, 2, 3)
    bank = sorting()
    for frame, degrees in enumerate((0, 100, 180)):
        bank.add(frame, trace(frame, memory=direction(degrees)))
    # Least similar to 95 is 0 (95 away); its neighbour 100 is 100 away, farther: nothing happens.
    bank.add(3, trace(3, memory=direction(95)))
    assert bank.frames == (0, 1, 2)


@pytest.mark.parametrize(("iou", "frames"), [(0.81, (0, 2, 3)), (0.79, (0, 1, 2))])
def test_a_newcomer_may_be_a_little_worse_but_not_more(iou: float, frames: tuple) -> None:
    bank = sorting()
    for frame, degrees in enumerate((0, 5, 90)):
        bank.add(frame, trace(frame, iou=0.9, memory=direction(degrees)))
    bank.add(3, trace(3, iou=iou, memory=direction(120)))
    assert bank.frames == frames


def test_frames_without_the_object_are_not_kept() -> None:
    bank = sorting()
    bank.add(1, trace(1, score=-3.0, memory=direction(0)))
    assert bank.frames == ()


def test_a_frame_sees_the_prompt_and_the_images_most_like_its_own() -> None:
    bank = sorting()
    bank.condition(18, trace(18, memory=[18.0, 0.0]))
    for frame in (1, 5, 9):
        bank.add(frame, trace(frame, memory=[float(frame), 0.0]))
    for _ in range(2):  # the same question has the same answer
        recalled = bank.recall(6)
        assert [(slot, int(m[0])) for slot, m in recalled.memories] == [(0, 18), (0, 5), (0, 9)]
    assert recalled.pointers == ()


def test_banks_by_name() -> None:
    see = IMAGES.__getitem__
    assert isinstance(make_bank("sam2", MemoryRules(), 5, 1, see), Sam2Bank)
    assert isinstance(make_bank("self-sorting", MemoryRules(), 5, 1, see), SelfSortingBank)
