from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QHelpEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QToolTip
from tests.gui.conftest import BOX, SHAPE, session_maker
from tests.gui.hands import canvas, click, press

from napari_medsam2.gui.controller import Controller
from napari_medsam2.gui.review_dock import TITLE
from napari_medsam2.gui.tiles import NOTHING, ramp
from napari_medsam2.gui.widget import MedSAM2Widget
from napari_medsam2.labels import MaskUpdate

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_medsam2.gui.review_panel import ReviewPanel

NAN = math.nan
LIVER = (0.9, 0.4, 0.6, NAN, 0.8)
SPLEEN = (NAN, NAN, 0.5, 0.7, 0.3)
LEFT = Qt.MouseButton.LeftButton


def segment(controller: Controller, object_id: int, scores: tuple[float, ...]) -> None:
    """Give an object a mask on each frame with a score."""
    session = controller.session
    mask = np.zeros(session.stack.shape, bool)
    mask[:, object_id : object_id + 1] = True
    session.write_masks(
        [
            MaskUpdate.from_mask(frame, object_id, mask, score)
            for frame, score in enumerate(scores)
            if not math.isnan(score)
        ],
        "write",
    )
    controller.changed.emit()


@pytest.fixture
def said(controller: Controller) -> list[str]:
    lines: list[str] = []
    controller.message.connect(lines.append, unique=False)
    return lines


@pytest.fixture
def two(controller: Controller) -> Controller:
    segment(controller, 1, LIVER)
    segment(controller, 2, SPLEEN)
    controller.session.add_box(1, BOX, 1, name="liver")
    controller.session.add_box(3, BOX, 2)
    return controller


class TestRows:
    def test_scores_prompts_and_accepted_frames(self, two):
        two.session.accept(2, [2])
        liver, spleen = two.review.rows()
        np.testing.assert_array_equal(liver.scores, LIVER)
        np.testing.assert_array_equal(spleen.scores, SPLEEN)
        assert (liver.title, spleen.title) == ("1 liver", "2")
        assert liver.prompted.tolist() == [False, True, False, False, False]
        assert not liver.accepted.any()
        assert spleen.accepted.tolist() == [False, False, True, False, False]
        assert liver.told(1) == "confidence 0.40, prompted"
        assert spleen.told(2) == "confidence 0.50, accepted"
        assert liver.colour == tuple(two.bench.desk.prompts.colour(1))

    def test_looked_at_in_vain_is_not_the_same_as_never_looked_at(self, model, stack):
        stack[4] = 20
        viewer = ViewerModel()
        viewer.add_image(stack, name="disc")
        controller = Controller(viewer, session_maker(model))
        controller.session.add_box(2, BOX)
        assert controller.propagate(start=1)
        controller.wait(10)
        (row,) = controller.review.rows()
        assert np.isnan(row.scores).tolist() == [True, False, False, False, True]
        assert row.absent.tolist() == [False, False, False, False, True]
        assert (row.told(0), row.told(4)) == ("not segmented", "not seen here")
        controller.undo()
        assert not controller.review.rows()[0].absent.any()
        controller.close()

    def test_without_image_axis_or_session(self, model, stack):
        viewer = ViewerModel()
        controller = Controller(viewer, session_maker(model))
        review = controller.review
        assert review.rows() == ()
        assert (review.n_frames, review.frame_on_show()) == (0, None)
        assert review.next_worst() is review.next_prompt() is None
        assert not review.accept()
        assert "no image" in str(controller.last_error)
        viewer.add_image(stack[0])
        assert (review.n_frames, review.rows()) == (0, ())
        controller.bench.use(viewer.add_image(stack))
        viewer.dims.set_current_step(0, 3)
        assert (review.n_frames, review.frame_on_show()) == (5, 3)
        assert review.statistic() == "Nothing is segmented yet"
        review.go_to(1)
        assert viewer.dims.current_step[0] == 1
        controller.close()


class TestWorst:
    def test_from_the_worst_upwards_each_slice_once(self, two, viewer_model, said):
        went = [two.review.next_worst() for _ in range(3)]
        assert went == [4, 1, 3]
        assert viewer_model.dims.current_step[0] == 3
        assert said == [
            *("Slice 4, confidence 0.30 of object 2", "Slice 1, confidence 0.40 of liver"),
            "Slice 3, confidence 0.70 of object 2",
        ]
        # Slice 2 was on show when the round began; slice 0 is the last.
        assert two.review.next_worst() == 0
        assert two.review.next_worst() == 4
        assert said[-1].endswith("again from the worst: slice 4, confidence 0.30 of object 2")
        assert two.review.next_worst() == 1

    def test_back_and_on_again(self, two, said):
        review = two.review
        for _ in range(3):
            review.next_worst()
        assert [review.previous_worst() for _ in range(4)] == [1, 4, 2, None]
        assert said[-1] == "This is where the round of worst slices began"
        assert [review.next_worst() for _ in range(3)] == [4, 1, 3]

    def test_accepted_slices_are_left_out(self, two, said):
        two.review.accept(frame=4)
        two.session.accept(1, [1])
        assert [two.review.next_worst() for _ in range(2)] == [3, 0]
        for frame in (0, 2):
            two.review.accept(frame=frame)
        # The one that is left, and then none.
        assert two.review.next_worst() == 3
        assert two.review.next_worst() is None
        assert said[-1] == "This is the only slice that is not accepted"
        two.review.accept()
        assert two.review.next_worst() is None
        assert said[-1] == "Every slice is accepted"

    def test_one_object_accepted_leaves_the_other_to_be_looked_at(self, two):
        two.session.accept(2, [2])
        two.review.go_to(0)
        assert [two.review.next_worst() for _ in range(4)] == [4, 1, 2, 3]

    def test_what_was_segmented_anew_comes_again(self, two):
        assert [two.review.next_worst() for _ in range(2)] == [4, 1]
        segment(two, 2, (NAN, NAN, NAN, NAN, 0.35))
        assert two.review.next_worst() == 4

    def test_of_the_selected_object_alone(self, two):
        two.review.set_scope("selected")
        assert [two.review.next_worst() for _ in range(3)] == [1, 4, 0]
        two.review.select(2)
        assert two.review.next_worst() == 4
        assert two.review.statistic() == "0 of 3 slices accepted; worst 0.30 at slice 4"

    def test_nothing_yet(self, controller, said):
        assert controller.review.next_worst() is None
        assert controller.review.previous_worst() is None
        assert said[0] == "Nothing is segmented yet"


class TestPrompts:
    def test_from_prompt_to_prompt(self, two, said, viewer_model):
        review = two.review
        assert (review.next_prompt(), review.next_prompt()) == (3, None)
        assert said[-1] == "There is no prompt after this slice"
        assert (review.previous_prompt(), review.previous_prompt()) == (1, None)
        assert viewer_model.dims.current_step[0] == 1
        review.set_scope("selected")
        viewer_model.dims.set_current_step(0, 4)
        assert review.previous_prompt() == 1


class TestAccept:
    def test_all_objects_and_back(self, two, said):
        review = two.review
        assert review.accept()
        assert two.session.accepted == {1: frozenset({2}), 2: frozenset({2})}
        assert said[-1] == "Slice 2: 2 objects accepted"
        assert review.accept()
        assert two.session.accepted == {}
        assert said[-1] == "Slice 2: 2 objects no longer accepted"

    def test_the_selected_object_alone(self, two):
        two.tools.select(2)
        assert two.review.accept_selected()
        assert two.session.accepted == {2: frozenset({2})}
        # The rest first: only what is accepted as a whole is taken back.
        assert two.review.accept()
        assert two.session.accepted == {1: frozenset({2}), 2: frozenset({2})}
        assert two.review.accept_selected()
        assert two.session.accepted == {1: frozenset({2})}

    def test_then_the_next_worst(self, two, viewer_model):
        two.review.goes_on = True
        assert two.review.accept()
        assert viewer_model.dims.current_step[0] == 4
        assert two.review.accept()
        assert viewer_model.dims.current_step[0] == 1
        # Taking back stays where it is.
        viewer_model.dims.set_current_step(0, 4)
        assert two.review.accept()
        assert viewer_model.dims.current_step[0] == 4

    def test_where_there_is_nothing(self, two, notes):
        two.tools.select(1)
        two.review.go_to(3)
        assert not two.review.accept_selected()
        assert str(two.last_error) == (
            "slice 3 has not a mask of object 1 to accept: segment it first"
        )

    def test_undo_takes_it_back(self, two):
        two.review.accept()
        two.undo()
        assert two.session.accepted == {}
        two.redo()
        assert two.review.rows()[0].accepted[2]

    def test_statistic(self, two):
        assert two.review.statistic() == "0 of 5 slices accepted; worst 0.30 at slice 4"
        for frame in (4, 1):
            two.review.accept(frame=frame)
        assert two.review.statistic() == "2 of 5 slices accepted; worst 0.50 at slice 2"
        for frame in (0, 2, 3):
            two.review.accept(frame=frame)
        assert two.review.statistic() == "All 5 slices accepted"


class TestViews:
    def test_along_the_slider_of_a_turned_view(self, two, viewer_model):
        viewer_model.dims.order = (1, 0, 2)
        review = two.review
        assert (review.n_frames, len(review.rows()[0].scores)) == (64, 64)
        assert np.isnan(review.rows()[0].scores).all()
        segment(two, 1, (NAN,) * 40 + (0.6, 0.5) + (NAN,) * 22)
        assert review.next_worst() == 41
        assert viewer_model.dims.current_step[:2] == (2, 41)
        assert review.frame_on_show() == 41
        viewer_model.dims.order = (0, 1, 2)
        np.testing.assert_array_equal(review.rows()[0].scores, LIVER)

    def test_a_view_across_the_frames_marks_none(self, two, viewer_model):
        two.bench.configure(axis=0)
        viewer_model.dims.order = (1, 0, 2)
        assert two.review.n_frames == 5
        assert two.review.frame_on_show() is None
        assert not two.review.accept()
        assert "shows no single slice" in str(two.last_error)

    def test_an_image_that_is_scaled_moved_and_turned_beside_a_longer_one(self, model, stack):
        viewer = ViewerModel()
        viewer.add_image(np.zeros((90, 4, 4)), translate=(-30, 0, 0))
        layer = viewer.add_image(stack, scale=(3, 0.5, 0.5), translate=(7, -3, 2), rotate=30)
        controller = Controller(viewer, session_maker(model))
        controller.bench.use(layer)
        segment(controller, 1, LIVER)
        assert controller.review.next_worst() == 1
        assert viewer.dims.point[0] == pytest.approx(7 + 3 * 1)
        controller.review.go_to(4)
        assert viewer.dims.point[0] == pytest.approx(7 + 3 * 4)
        assert controller.review.frame_on_show() == 4
        controller.close()

    def test_each_time_point_has_its_own_slices(self, model, stack):
        viewer = ViewerModel()
        viewer.add_image(np.stack([stack, stack, stack]), name="movie")
        viewer.dims.set_point(0, 1)
        controller = Controller(viewer, session_maker(model))
        review = controller.review
        segment(controller, 1, LIVER)
        assert review.next_worst() == 1
        assert review.accept()
        viewer.dims.set_point(0, 2)
        assert review.is_elsewhere
        assert review.frame_on_show() is None
        review.keep_up()
        assert review.frame_on_show() == 1
        assert np.isnan(review.rows()[0].scores).all()
        viewer.dims.set_point(0, 1)
        review.keep_up()
        assert review.rows()[0].accepted.tolist() == [False, True, False, False, False]
        # A click leads back to the time that the strip shows.
        viewer.dims.set_point(0, 0)
        review.go_to(3)
        assert viewer.dims.current_step[:2] == (1, 3)
        controller.close()


class TestWindow:
    @pytest.fixture
    def viewer(self, make_napari_viewer, stack) -> Viewer:
        viewer = make_napari_viewer(show=True)
        viewer.add_image(stack, name="disc", scale=(3.0, 1.0, 1.0))
        viewer.dims.set_current_step(0, 2)
        return viewer

    @pytest.fixture
    def widget(self, viewer, model, cold) -> MedSAM2Widget:
        widget = MedSAM2Widget(viewer, make_session=session_maker(model))
        viewer.window.add_dock_widget(widget, name="MedSAM2")
        return widget

    @pytest.fixture
    def panel(self, widget, qtbot) -> ReviewPanel:
        segment(widget.controller, 1, LIVER)
        segment(widget.controller, 2, SPLEEN)
        widget.controller.session.add_box(1, BOX, 1, name="liver")
        qtbot.waitUntil(lambda: widget.review.panel is not None)
        panel = widget.review.panel
        qtbot.waitUntil(lambda: len(panel.strip.rows) == 2 and panel.strip.width() > 500)
        QApplication.processEvents()
        return panel

    def place(self, panel, frame: int, row: int = 0) -> QPoint:
        return QPoint(round(panel.strip.x_of(frame)), round(panel.strip.y_of(row)))

    def test_it_opens_below_and_says_how_far_one_is(self, viewer, widget, panel, qtbot):
        viewer.window.resize(1280, 800)
        dock = panel.parentWidget()
        assert dock.isVisible()
        # From the left of the window to the panels at the right, which keep their height.
        beside = widget.parentWidget()
        qtbot.waitUntil(lambda: beside.geometry().left() - dock.geometry().right() in range(20))
        assert dock.geometry().left() == 0
        assert dock.geometry().bottom() == beside.geometry().bottom()
        assert panel.height() <= 120
        assert not widget.review_strip.isVisible()
        expected = "0 of 5 slices accepted; worst 0.30 at slice 4"
        qtbot.waitUntil(lambda: panel.statistic.text() == expected)
        assert panel.statistic.width() >= panel.statistic.sizeHint().width()
        viewer.window.resize(1120, 700)
        qtbot.waitUntil(lambda: panel.statistic.text().endswith("…"))
        assert panel.statistic.toolTip().startswith(expected)

    def test_a_click_goes_to_the_slice_and_selects_the_object(self, viewer, widget, panel):
        QTest.mouseClick(panel.strip, LEFT, pos=self.place(panel, 4, row=1))
        assert viewer.dims.current_step[0] == 4
        assert panel.strip.current == 4
        assert widget.controller.tools.object_id == 2
        viewer.dims.set_current_step(0, 1)
        assert panel.strip.current == 1

    def test_a_drag_goes_along_and_keeps_the_object(self, viewer, widget, panel):
        strip = panel.strip
        QTest.mousePress(strip, LEFT, pos=self.place(panel, 0, row=1))
        seen = []
        for frame in (1, 3, 4):
            QTest.mouseMove(strip, self.place(panel, frame, row=0))
            QApplication.processEvents()
            seen.append(viewer.dims.current_step[0])
        QTest.mouseRelease(strip, LEFT, pos=self.place(panel, 4))
        assert seen == [1, 3, 4]
        assert widget.controller.tools.object_id == 2

    def test_a_click_on_a_name_selects_alone(self, viewer, widget, panel):
        where = QPoint(30, round(panel.strip.y_of(1)))
        QTest.mouseClick(panel.strip, LEFT, pos=where)
        assert widget.controller.tools.object_id == 2
        assert viewer.dims.current_step[0] == 2

    def test_the_tip(self, panel):
        where = self.place(panel, 1)
        event = QHelpEvent(QEvent.Type.ToolTip, where, panel.strip.mapToGlobal(where))
        QApplication.sendEvent(panel.strip, event)
        assert QToolTip.text() == "Slice 1, 1 liver\nconfidence 0.40, prompted"

    def test_what_is_painted(self, widget, panel, qtbot):
        controller = widget.controller
        controller.review.accept(frame=4)
        qtbot.waitUntil(lambda: bool(panel.strip.rows[0].accepted[4]))
        panel.strip.mark(None)
        picture = panel.strip.grab().toImage()
        ratio = picture.devicePixelRatio()

        def colour(frame: int, row: int, dy: float = -7) -> str:
            x, y = panel.strip.x_of(frame), panel.strip.y_of(row) + dy
            return picture.pixelColor(round(x * ratio), round(y * ratio)).name()

        assert [colour(f, 0) for f in (0, 1, 2, 4)] == [
            ramp(v).name() for v in (0.9, 0.4, 0.6, 0.8)
        ]
        assert colour(3, 0) not in (ramp(0).name(), NOTHING.name())
        assert colour(1, 0, dy=0) == "#ffffff"  # the diamond
        below = panel.strip.row_height / 2
        assert colour(4, 0, below) == colour(4, 1, below) != colour(2, 0, below)

    def test_buttons(self, viewer, widget, panel, qtbot):
        controller = widget.controller
        click(panel.worst, qtbot)
        assert viewer.dims.current_step[0] == 4
        click(panel.accept, qtbot)
        assert controller.session.accepted == {1: frozenset({4}), 2: frozenset({4})}
        assert panel.accept.isChecked()
        assert panel.accept.text() == "✓ Accepted"
        click(panel.back, qtbot)
        assert viewer.dims.current_step[0] == 2
        assert not panel.accept.isChecked()
        click(panel.previous_prompt, qtbot)
        assert viewer.dims.current_step[0] == 1
        panel.goes_on.click()
        click(panel.accept, qtbot)
        # Slice 2 was shown in this round.
        assert viewer.dims.current_step[0] == 3
        panel.scope.setCurrentIndex(1)
        assert controller.review.scope == "selected"
        qtbot.waitUntil(lambda: panel.statistic.toolTip().startswith("2 of 4 slices"))

    def test_keys_stay_with_the_canvas(self, viewer, widget, panel, qtbot):
        controller, shift = widget.controller, Qt.KeyboardModifier.ShiftModifier
        canvas(viewer).setFocus()
        QTest.mouseClick(panel.strip, LEFT, pos=self.place(panel, 2))
        for push in (panel.previous_prompt, panel.next_prompt):
            click(push, qtbot)
        panel.goes_on.click()
        panel.goes_on.click()
        # napari's window hands on what it gets itself.
        QTest.keyClick(panel.window().focusWidget(), Qt.Key.Key_W)
        assert viewer.dims.current_step[0] == 4
        press(viewer, Qt.Key.Key_W, shift)
        viewer.dims.set_current_step(0, 2)

        def frame_after(key: Qt.Key, modifier: Qt.KeyboardModifier | None = None) -> int:
            press(viewer, key, *([] if modifier is None else [modifier]))
            return viewer.dims.current_step[0]

        assert frame_after(Qt.Key.Key_W) == 4
        assert frame_after(Qt.Key.Key_W) == 3
        assert frame_after(Qt.Key.Key_W, shift) == 4
        assert frame_after(Qt.Key.Key_Comma) == 1
        viewer.dims.set_current_step(0, 0)
        assert frame_after(Qt.Key.Key_Period) == 1
        press(viewer, Qt.Key.Key_A)
        assert controller.session.accepted == {1: frozenset({1})}
        viewer.dims.set_current_step(0, 2)
        controller.tools.select(2)
        press(viewer, Qt.Key.Key_A, shift)
        assert controller.session.accepted == {1: frozenset({1}), 2: frozenset({2})}
        press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        assert controller.session.accepted == {1: frozenset({1})}

    def test_a_turned_view(self, viewer, widget, panel, qtbot):
        viewer.dims.order = (1, 0, 2)
        qtbot.waitUntil(lambda: len(panel.strip.rows[0].scores) == 64)
        QTest.mouseClick(panel.strip, LEFT, pos=self.place(panel, 50))
        assert viewer.dims.current_step[1] == 50
        assert panel.strip.current == 50

    def test_a_layer_that_is_scaled_moved_and_turned(self, make_napari_viewer, model, stack, cold):
        viewer = make_napari_viewer(show=True)
        viewer.add_image(np.zeros((90, 4, 4)), translate=(-30, 0, 0), name="other")
        viewer.add_image(stack, name="disc", scale=(3, 0.5, 0.5), translate=(7, -3, 2), rotate=30)
        widget = MedSAM2Widget(viewer, make_session=session_maker(model))
        viewer.window.add_dock_widget(widget, name="MedSAM2")
        widget.controller.bench.use(viewer.layers["disc"])
        segment(widget.controller, 1, LIVER)
        widget.review.open()
        panel = widget.review.panel
        QApplication.processEvents()
        QTest.mouseClick(panel.strip, LEFT, pos=self.place(panel, 3))
        assert viewer.dims.point[0] == pytest.approx(7 + 3 * 3)
        assert panel.strip.current == 3
        press(viewer, Qt.Key.Key_W)
        assert viewer.dims.point[0] == pytest.approx(7 + 3 * 1)

    def test_it_fills_while_a_propagation_runs(self, viewer, gated, cold, qtbot):
        widget = MedSAM2Widget(viewer, make_session=session_maker(gated))
        viewer.window.add_dock_widget(widget, name="MedSAM2")
        widget.controller.session.add_box(0, BOX)
        qtbot.waitUntil(lambda: widget.review.panel is not None)
        strip = widget.review.panel.strip
        widget.controller.propagate()
        gated.open(2)

        def found() -> list[bool]:
            return np.isfinite(strip.rows[0].scores).tolist()

        qtbot.waitUntil(lambda: found() == [True, True, False, False, False], timeout=10_000)
        gated.open()
        qtbot.waitUntil(lambda: all(found()), timeout=10_000)

    def test_playback(self, viewer, widget, panel, qtbot):
        seen = set()
        viewer.dims.events.current_step.connect(lambda: seen.add(panel.strip.current))
        viewer.window._qt_viewer.dims.play(0, fps=30)
        qtbot.waitUntil(lambda: seen >= {0, 1, 2, 3, 4}, timeout=10_000)
        viewer.window._qt_viewer.dims.stop()
        qtbot.waitUntil(lambda: not viewer.window._qt_viewer.dims.is_playing)

    def test_it_is_closed_and_brought_back(self, viewer, widget, panel, qtbot):
        click(panel.parentWidget().title.close_button, qtbot)
        assert widget.review.panel is None
        assert TITLE not in viewer.window.dock_widgets
        press(viewer, Qt.Key.Key_W)
        assert viewer.dims.current_step[0] == 4
        click(widget.review_strip, qtbot)
        panel = widget.review.panel
        assert panel is viewer.window.dock_widgets[TITLE]
        assert panel.strip.current == 4
        qtbot.waitUntil(lambda: not widget.review_strip.isVisible())
        panel.parentWidget().title.hide_button.click()
        click(widget.review_strip, qtbot)
        assert panel.isVisible()

    def test_it_goes_with_the_widget(self, viewer, widget, panel):
        viewer.window.remove_dock_widget(widget)
        assert TITLE not in viewer.window.dock_widgets
        viewer.dims.set_current_step(0, 0)

    def test_below_the_console_it_keeps_its_width(self, viewer, widget, panel, qtbot):
        viewer.window._qt_viewer.dockConsole.show()
        console = viewer.window._qt_viewer.dockConsole
        dock = panel.parentWidget()
        qtbot.waitUntil(lambda: dock.geometry().top() >= console.geometry().bottom() > 0)
        assert dock.geometry().left() == 0
        assert dock.width() == console.width()

    def test_not_for_a_plane(self, make_napari_viewer, model, stack, cold, qtbot):
        viewer = make_napari_viewer(show=True)
        viewer.add_image(stack[0], name="plane")
        widget = MedSAM2Widget(viewer, make_session=session_maker(model))
        viewer.window.add_dock_widget(widget, name="MedSAM2")
        qtbot.waitUntil(widget.segment.slice.isVisible)
        widget.refresh()
        assert widget.review.panel is None
        assert not widget.review_strip.isVisible()

    def test_twelve_objects_stay_low_and_more_scroll(self, widget, panel, qtbot):
        controller = widget.controller

        def seen() -> int:
            return panel.strip.visibleRegion().boundingRect().height()

        for last in (12, 20):
            for object_id in range(3, last + 1):
                segment(controller, object_id, LIVER)
            qtbot.waitUntil(lambda n=last: len(panel.strip.rows) == n)
            qtbot.waitUntil(lambda n=last: (seen() == panel.strip.height()) == (n == 12))
            assert panel.height() <= 120
        assert panel.strip.row_height >= 7
        assert SHAPE[0] == len(panel.strip.rows[-1].scores)
