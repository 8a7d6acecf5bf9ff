"""The app's own stimuli within a session: begun when they will not be lost, ended with the session.

Owns the one start of the presenter, its pauses while nothing streams, and the question whether a
session that lives by its stimuli is over. What is shown and stamped is `Presenter`'s. Belongs to
the acquisition thread; `presenter` may be read by others.
"""

from __future__ import annotations

from collections.abc import Callable

from app.runtime.acquisition import Acquisition
from app.runtime.decoding import Decoding
from app.runtime.ledger import Ledger
from app.runtime.stimuli import Presenter
from pipeline.errors import PhospheneError

MARKERS_TIMEOUT = 30.0
"""Longest wait for our own stimulus markers to come back over LSL, s."""
GIVE_UP = 3.0
"""A marker's epoch that is not cut so long after its end never comes, s."""


class Show:
    """The presenter of a session, from its beginning to the last picture.

    Parameters
    ----------
    make_presenter : callable
        Makes it, once everything is ready.
    may_present : callable
        Whether stimuli would be seen by now; asked while all else is ready, and may raise.
    """

    def __init__(
        self, make_presenter: Callable[[], Presenter], *, may_present: Callable[[], bool]
    ) -> None:
        self._make_presenter = make_presenter
        self._may_present = may_present
        self.presenter: Presenter | None = None

    def begin(self, acquisition: Acquisition, decoding: Decoding) -> None:
        """Start the stimuli once they would be seen, recorded and decoded; pause them meanwhile.

        Call it in every turn.

        Raises
        ------
        PhospheneError
            Our own markers do not come back, or nobody will ever see the stimuli.
        """
        if self.presenter is not None:
            flows = acquisition.is_streaming and acquisition.is_settled
            self.presenter.set_paused(not (flows and self._may_present()))
        elif (
            acquisition.is_streaming
            and acquisition.is_settled
            and decoding.is_ready
            and _receives_markers(acquisition)
            and self._may_present()
        ):
            self.presenter = self._make_presenter()
            self.presenter.start()

    def is_over(self, ledger: Ledger, decoding: Decoding, *, give_up_at: float) -> bool:
        """Whether all is shown and every epoch cut, or the last onset lies before `give_up_at`."""
        if self.presenter is None or not self.presenter.finished:
            return False
        complete = (
            ledger.n_markers >= self.presenter.n_shown
            and ledger.n_markers <= ledger.n_concluded + decoding.n_under_way
        )
        return complete or (ledger.last_onset or 0.0) < give_up_at

    def stop(self) -> None:
        """Show no more."""
        if self.presenter is not None:
            self.presenter.stop()


def _receives_markers(acquisition: Acquisition) -> bool:
    """Whether our own inlet follows the marker stream, so that no stimulus goes unrecorded."""
    if acquisition.receives_markers:
        return True
    if acquisition.elapsed > MARKERS_TIMEOUT:
        raise PhospheneError(
            f"The stimulus markers were not found within {MARKERS_TIMEOUT:g} s, expected our "
            "own stream in reach: check LSL with `phosphene doctor`."
        )
    return False
