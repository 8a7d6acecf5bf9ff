"""A calibration without a window: every question answered by the command line.

Owns the answers and the waiting. Knows nothing of what is printed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from app.calibration.flow import Flow
from app.calibration.signal_check import Light
from app.calibration.steps import FlowView, Step
from app.errors import AppError

CHECK_TIMEOUT = 30.0
"""Longest wait for a green signal check, s."""
INTERVAL = 0.1


def run_flow(
    flow: Flow,
    *,
    force: bool = False,
    on_view: Callable[[FlowView], None] = lambda _view: None,
    check_timeout: float = CHECK_TIMEOUT,
    interval: float = INTERVAL,
    stop: threading.Event | None = None,
) -> FlowView:
    """Run a calibration to its end; what was found is saved, anything else is kept as data only.

    Parameters
    ----------
    flow : Flow
        Not yet started.
    force : bool
        Go on although the signal check is not green.
    on_view : callable
        Called with every new view.
    check_timeout, interval : float
        Longest wait for the signal check, and between two polls, s.
    stop : threading.Event, optional
        Gives up when set.

    Raises
    ------
    AppError
        The signal check did not turn green, or the adapter could not be stored.
    """
    stop = stop or threading.Event()
    check_until: float | None = None
    flow.start()
    while True:
        flow.poll()
        view = flow.view()
        on_view(view)
        if view.over or stop.is_set():
            return view
        if view.step is Step.CHECK:
            now = time.monotonic()
            check_until = check_until or now + check_timeout
            if view.check.light is Light.GREEN:
                flow.proceed()
            elif force and view.check.light is Light.RED:
                flow.proceed(override=True)
            elif now > check_until:
                raise AppError(
                    f"the signal check was not green within {check_timeout:g} s: "
                    f"{view.check.sentence} --force goes on all the same."
                )
        elif view.step is Step.CHOOSE:
            flow.begin()
        elif view.step is Step.RESULT:
            _decide(flow, view)
        stop.wait(interval)


def _decide(flow: Flow, view: FlowView) -> None:
    if view.save_error:
        raise AppError(view.save_error)
    if view.result is not None and view.result.may_be_saved:
        flow.save()
    else:
        flow.discard()
