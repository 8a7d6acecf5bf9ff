"""What actions of the keyboard and the menu do to the parts of the main window.

Owns the tables from an action's name to the call, a part each; keys and words stand in `shortcuts`.
The window adds what it does itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from app.view_models.session.model import SessionModel
from app.views.session.picture_actions import PictureActions
from app.views.session.transport_bar import STEP, TransportBar
from app.views.signals.trace_panel import TracePanel
from app.views.sources.view import SourcesView

Actions = dict[str, Callable[[], object]]


def session_actions(session: SessionModel) -> Actions:
    """Return the markers by key, and what follows the person."""
    marks: Actions = {f"mark{n}": partial(session.add_marker, str(n)) for n in range(1, 9)}
    return marks | {"mark": partial(session.add_marker, "M"), "align": session.toggle_alignment}


def source_actions(sources: SourcesView) -> Actions:
    """Return what finds a source."""
    return {"open": sources.open_recording, "search": sources.search}


def replay_actions(transport: TransportBar) -> Actions:
    """Return what moves in a recording."""
    return {
        "play": transport.toggle,
        "seek_back": partial(transport.step, -STEP),
        "seek_on": partial(transport.step, STEP),
        "loop": transport.toggle_loop,
    }


def trace_actions(panel: TracePanel) -> Actions:
    """Return what changes the traces that are seen."""
    return {
        "larger": partial(panel.zoom, 1),
        "smaller": partial(panel.zoom, -1),
        "pause": panel.toggle_pause,
        "page_up": partial(panel.turn, -1),
        "page_down": partial(panel.turn, 1),
        "back": partial(panel.look_back, 0.1),
        "forth": partial(panel.look_back, -0.1),
    }


def picture_actions(pictures: PictureActions) -> Actions:
    """Return what keeps pictures."""
    return {"save": pictures.save, "copy": pictures.copy, "export": pictures.export}
