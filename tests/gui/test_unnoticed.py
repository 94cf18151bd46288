"""Python's collector and its turns, while much is loaded or a run is under way."""

from __future__ import annotations

import gc
import sys
import threading
import weakref

import pytest
from tests.gui.common import draw

from napari_medsam2.gui.unnoticed import Undisturbed, sparing_the_old, unnoticed


class Knot:
    """What only the collector can free."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def collector():
    """Leave the collector as it was, and a look at everything behind."""
    gc.unfreeze()
    gc.collect()
    before = gc.isenabled(), gc.get_threshold(), sys.getswitchinterval()
    yield before
    assert (gc.isenabled(), gc.get_threshold(), sys.getswitchinterval()) == before
    assert gc.get_freeze_count() == 0


class TestUnnoticed:
    def test_nothing_is_collected_meanwhile_and_everything_afterwards(self):
        with unnoticed():
            assert not gc.isenabled()
            assert sys.getswitchinterval() <= 0.001
            knot = weakref.ref(Knot())
        assert knot() is not None
        gc.collect()
        assert knot() is None

    def test_the_last_one_out_puts_things_back(self):
        inside, leave = threading.Event(), threading.Event()

        def load() -> None:
            with unnoticed():
                inside.set()
                leave.wait(10)

        thread = threading.Thread(target=load)
        with unnoticed():
            thread.start()
            inside.wait(10)
        assert not gc.isenabled()
        leave.set()
        thread.join()
        assert gc.isenabled()

    def test_an_error_goes_through(self):
        @unnoticed()
        def fail() -> None:
            raise KeyError("gone")

        with pytest.raises(KeyError):
            fail()

    def test_who_has_no_collector_gets_none(self):
        gc.disable()
        try:
            with unnoticed():
                pass
            assert not gc.isenabled()
        finally:
            gc.enable()

    def test_what_another_program_froze_stays_frozen(self):
        gc.freeze()
        frozen = gc.get_freeze_count()
        try:
            with unnoticed(), sparing_the_old():
                pass
            assert gc.get_freeze_count() == frozen
        finally:
            gc.unfreeze()


def test_sparing_the_old_looks_at_what_is_new():
    old = weakref.ref(Knot())
    with sparing_the_old():
        new = weakref.ref(Knot())
        gc.collect()
        assert old() is not None
        assert new() is None
    gc.collect()
    assert old() is None


def test_undisturbed_times_may_overlap():
    first, second = Undisturbed(), Undisturbed()
    usual = gc.get_threshold()
    first.begin()
    first.begin()
    second.begin()
    first.end()
    assert gc.get_threshold()[2] > 1_000_000
    assert gc.get_threshold()[:2] == usual[:2]
    second.end()
    second.end()
    assert gc.get_threshold() == usual


def test_a_run_is_undisturbed_and_a_pause_is_not(gated_controller, gated):
    usual = gc.get_threshold()
    controller = gated_controller
    controller.segment_while_drawing = False
    draw(controller)
    controller.propagate()
    assert gc.get_threshold() != usual
    gated.open(1)
    while controller.state != "running":
        controller.poll(0.05)
    controller.pause()
    assert gc.get_threshold() == usual
    controller.resume()
    assert gc.get_threshold() != usual
    gated.open()
    assert controller.wait(30)
    assert gc.get_threshold() == usual


def test_a_controller_that_is_closed_in_mid_run_leaves_nothing_behind(gated_controller):
    draw(gated_controller)
    gated_controller.propagate()
    gated_controller.close()
