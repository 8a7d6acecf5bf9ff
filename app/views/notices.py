"""What the banner says, and when: errors, the end of a session, sessions that were never finished.

Owns the order of these; the banner is a widget, and the models know what has happened.
"""

from __future__ import annotations

from app.port import Phase
from app.view_models import formatting
from app.view_models.past_sessions import PastSessionsModel
from app.view_models.preferences import PreferencesStore
from app.view_models.session import SessionModel
from app.views.recent_view import RecentView
from app.views.status_bar import Banner


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

    @property
    def phase(self) -> Phase:
        """The phase that was seen last."""
        return self._phase

    def poll_session(self) -> None:
        """Say what went wrong, or that a session has ended; a report may open by itself."""
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
        self._banner.hide()
