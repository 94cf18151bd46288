"""What is done with a result: cleaning it up and measuring it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cleanup import Cleaner
from .measuring import Measurer, save_table
from .relay import relay
from .running import Running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.components import ViewerModel

    from napari_medsam2.errors import MedSAM2Error
    from napari_medsam2.session import Session

    from .cleanup import Order
    from .runner import Outcome

__all__ = ["Finishing"]


class Finishing(Running):
    """Cleaning up and measuring, both in threads of their own until labels are written.

    Parameters
    ----------
    viewer : ViewerModel
    make_session : callable
        Builds sessions; for tests.

    Attributes
    ----------
    cleaner : Cleaner
        Previews what cleaning up would change.
    measurer : Measurer
        Measures the objects.
    """

    def __init__(self, viewer: ViewerModel, make_session: Callable[..., Session]) -> None:
        super().__init__(viewer, make_session)
        self.cleaner = Cleaner(self.bench)
        self.measurer = Measurer(self.bench)
        # A preview of labels that are no more would mislead.
        self.relabelled.connect(self.cleaner.cancel)
        self.relabelled.connect(self.measurer.note_change)
        self.cleaner.ended.connect(self._on_looked)
        self.measurer.ended.connect(self._on_measured)
        relay(self.cleaner.changed, self.changed)
        relay(self.measurer.changed, self.changed)

    def preview_cleanup(self, order: Order) -> bool:
        """Show in a layer of its own what `clean_up` would change; nothing is changed.

        Parameters
        ----------
        order : Order

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """

        def begin() -> None:
            self.cleaner.start(self._session_in_line(), order)
            self.woken.emit()

        return self._when_idle(begin)

    def clean_up(self, order: Order) -> bool:
        """Change the masks of objects, as one step that undo takes back.

        Parameters
        ----------
        order : Order

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """

        def begin() -> None:
            session = self._session_in_line()
            run = self.cleaner.begin(session, order)
            self.bench.require_desk().show_results()
            self.message.emit("Cleaning up…")
            self._runner.start_run("write", session, run, 1, lambda: None, self._on_cleaned)
            self.woken.emit()

        return self._when_idle(begin)

    def measure(self) -> bool:
        """Measure every object of the image in use, in a thread; `measurer.table` has the result.

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """

        def begin() -> None:
            self.bench.require_desk()
            self.measurer.start(self._session_in_line())
            self.woken.emit()

        return not self._is_closed and self._guarded(begin)

    def save_measurements(self, path: str | Path) -> bool:
        """Write what was measured as CSV, in the thread; an older file is replaced."""
        table = self.measurer.table or ()
        return self._when_idle(
            lambda: self._begin_task(lambda: save_table(table, path), self._on_table_saved)
        )

    # Inside

    @property
    def _is_finishing(self) -> bool:
        return self.cleaner.is_busy or self.measurer.is_busy

    def _poll_finishing(self) -> None:
        self.cleaner.poll()
        self.measurer.poll()

    def _close_finishing(self) -> None:
        self.cleaner.close()
        self.measurer.close()

    # Events

    def _on_looked(self, error: MedSAM2Error | None) -> None:
        if error is not None:
            self._fail(error)
        elif self.cleaner.preview is not None:
            self.message.emit(f"Preview: {self.cleaner.preview}")

    def _on_cleaned(self, outcome: Outcome) -> None:
        self.cleaner.cancel()
        desk = self.bench.desk
        if desk is not None:
            desk.results.refresh(now=True)
        n = outcome.progress.done
        masks = f"{n} mask{'s' * (n != 1)}"
        if outcome.cancelled:
            text = f"Stopped after {masks}; what is done stays (Ctrl+Z undoes)"
        else:
            text = f"Cleaned up {masks} (Ctrl+Z undoes)" if n else "There was nothing to clean up"
        self._conclude(outcome, text)

    def _on_measured(self, error: MedSAM2Error | None) -> None:
        if error is not None:
            self._fail(error)
        elif self.measurer.table is not None:
            n = len({m.object_id for m in self.measurer.table})
            self.message.emit(f"Measured {n} object{'s' * (n != 1)}")

    def _on_table_saved(self, outcome: Outcome) -> None:
        self._conclude(outcome, f"Saved {outcome.value}")
