"""Frames embedded before they are asked for, while a person looks around."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_medsam2.tracking.prefetch import Prefetcher
from napari_medsam2.tracking.zoom import Zoom

if TYPE_CHECKING:
    from napari_medsam2.session import Session
    from napari_medsam2.tracking.embeddings import FrameEncoder

__all__ = ["Lookahead"]


class Lookahead:
    """Embeds the frames around the one on show, in a thread of its own."""

    def __init__(self) -> None:
        self._prefetcher = Prefetcher(self._encoder)
        self._session: Session | None = None
        self._frame = 0

    def look(self, session: Session, frame: int) -> None:
        """Say which frame of which session is on show; returns at once."""
        step = frame - self._frame if session is self._session else 0
        self._session, self._frame = session, frame
        self._prefetcher.want(frame, step)

    def forget(self) -> None:
        """Embed no further frame of what was looked at."""
        self._session = None

    def pause(self) -> None:
        """Make way for real work."""
        self._prefetcher.pause()

    def resume(self) -> None:
        """Go on after it."""
        self._prefetcher.resume()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to embed; False if time ran out."""
        return self._prefetcher.wait(timeout)

    def close(self) -> None:
        """Stop for good; a frame that is just being embedded is not waited for."""
        self.forget()
        self._prefetcher.close(timeout=0)

    def _encoder(self) -> FrameEncoder | None:
        """Return what embeds; called in the thread."""
        session = self._session
        if session is None or not session.has_model:
            return None
        encoder = session.encoder
        # Large frames are looked at in regions, and where is not known before a person points.
        zooms = session.settings["zoom"] == "auto" and Zoom.of(encoder) is not None
        return None if zooms else encoder
