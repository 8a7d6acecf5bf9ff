"""What the banner says, and when: errors, the end of a session, sessions that were never finished.

Owns the order of these; the banner is a widget, and the models know what has happened.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from app import formatting
from app.port import Phase
from app.view_models.session.model import SessionModel
from app.view_models.session.past_sessions import PastSessionsModel
from app.view_models.settings.preferences import PreferencesStore
from app.views.session.recent_view import RecentView
from app.views.session.status_bar import Banner


class Notices:
    """Watches the models and speaks through one banner."""

    def __init__(
        self,
        banner: Banner,
        session: SessionModel,
        past: PastSessionsModel,
        recent: RecentView,
        preferences: PreferencesStore,
    ) -> None:
        self._banner, self._session = banner, session
        self._past, self._recent = past, recent
        self._preferences = preferences
        self._phase = Phase.IDLE
        self._error = ""
        self._silent_since: datetime | None = None
        self._says_silence = False

    @property
    def phase(self) -> Phase:
        """The phase that was seen last."""
        return self._phase

    def poll_session(self) -> None:
        """Say what went wrong, or that a session has ended; a report may open by itself."""
        self._poll_silence()
        before, self._phase = self._phase, self._session.phase
        if self._session.error != self._error:
            self._error = self._session.error
            if self._error:
                self._banner.show_error(self._error)
            else:
                self._banner.hide()
        elif self._phase is Phase.STOPPED and before is not Phase.STOPPED and not self._error:
            self._banner.show_finished(self._session)
            if self._preferences.value.open_report:
                self._banner.open_report()
            self._past.remember(self._session.snapshot.out)
            self._past.refresh()

    def _poll_silence(self) -> None:
        """Say that nothing streams, and since when, until it streams again."""
        session, silent_for = self._session, self._session.silent_for
        if silent_for is None:
            if self._says_silence:
                self._banner.hide()
            self._silent_since, self._says_silence = None, False
            return
        if self._silent_since is None:
            self._silent_since = datetime.now().astimezone() - timedelta(seconds=silent_for)
            self._says_silence = self._banner.isHidden()
        if not self._says_silence:
            return  # something else is said, or this was closed
        presents = session.port is not None and session.port.config.stimuli.enabled
        since, lasts = f"{self._silent_since:%H:%M:%S}", formatting.length(silent_for)
        words = f"No stream since {since} ({lasts}). {session.snapshot.message}"
        if presents:
            words += " The stimuli are paused."
        self._banner.show_note(words, tone="warn")

    def poll_past(self) -> None:
        """Say what a search for earlier sessions, or the mending of one, has brought."""
        past = self._past
        if not past.poll():
            return
        self._recent.refresh()
        if past.error:
            self._banner.show_error(past.error)
        elif past.report is not None:
            words = f"The session in {formatting.short_path(past.report.parent)} is finished now."
            self._banner.show_note(words, past.report.parent, report=past.report)
        elif past.abandoned and not self._session.active and self._banner.isHidden():
            lost = past.abandoned[0]
            self._banner.show_note(
                f"The session {lost.path.name} ended without being finished. What was recorded is "
                "safe: “Build report” below makes its report.",
                lost.path,
                tone="warn",
            )

    def dismiss(self) -> None:
        """Take away what is said."""
        self._session.error = self._error = ""
        self._says_silence = False
        self._banner.hide()
