"""One call at a time in a thread, polled: what may block never blocks who watches.

Owns the thread and the way its end is told. Knows nothing of calibration or Qt.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from pipeline.errors import PhospheneError

_LOG = logging.getLogger(__name__)
T = TypeVar("T")


class Background(Generic[T]):
    """Runs `call` at once; `done` tells when `value` or `error` is there."""

    def __init__(self, call: Callable[[], T], *, name: str) -> None:
        self._call = call
        self.value: T | None = None
        self.error = ""
        # `Thread.join` that an exception leaves takes the thread for ended on Python 3.11 and 3.12.
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether the call is over."""
        return self._over.is_set()

    def join(self, timeout: float) -> None:
        """Wait for the end up to `timeout` seconds."""
        self._over.wait(timeout)

    def _run(self) -> None:
        try:
            self.value = self._call()
        except (PhospheneError, ValueError) as error:
            _LOG.debug("a call in the background failed", exc_info=True)
            self.error = str(error)
        except Exception as error:  # noqa: BLE001 - a thread's top: nothing ends unsaid
            _LOG.exception("a call in the background failed")
            self.error = f"Something unexpected went wrong ({error}); the log has the details."
        finally:
            self._over.set()
