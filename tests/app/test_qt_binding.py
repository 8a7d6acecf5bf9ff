"""The one fault of a Qt binding that would end every session (docs/decisions/0002)."""

from __future__ import annotations

import sys

from PySide6.QtCore import QObject, Signal


class Sender(QObject):
    """Something that emits."""

    changed = Signal(int)


def test_emitting_a_signal_does_not_lose_references_to_true() -> None:
    sender = Sender()
    before = sys.getrefcount(True)
    for number in range(200):  # far fewer than the faulty release survives
        sender.changed.emit(number)
    assert sys.getrefcount(True) > before - 20
