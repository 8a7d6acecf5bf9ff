"""Questions before something is lost; the answer at hand is always the one that loses nothing.

Owns the question's form only.
"""

from __future__ import annotations

from PySide6.QtWidgets import QMessageBox, QWidget


def confirm(parent: QWidget, title: str, question: str, *, do: str, keep: str) -> bool:
    """Ask; return whether `do` was chosen. Enter and Esc both keep."""
    box = QMessageBox(parent)
    box.setWindowTitle(title)
    box.setText(question)
    yes = box.addButton(do, QMessageBox.ButtonRole.DestructiveRole)
    no = box.addButton(keep, QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(no)
    box.setEscapeButton(no)
    box.exec()
    return box.clickedButton() is yes
