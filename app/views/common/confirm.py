"""Questions before something is lost; the answer at hand is always the one that loses nothing.

Owns the questions' form and words. Whether they are asked is the window's to decide.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QFile, Qt
from PySide6.QtWidgets import QMessageBox, QPushButton, QWidget

from configs.plain import plain


def confirm(parent: QWidget, title: str, question: str, *, do: str, keep: str) -> bool:
    """Ask; return whether `do` was chosen. Enter and Esc both keep."""
    box, yes = question_box(parent, title, question, do=do, keep=keep)
    box.exec()
    return box.clickedButton() is yes


def question_box(
    parent: QWidget, title: str, question: str, *, do: str, keep: str
) -> tuple[QMessageBox, QPushButton]:
    """Make the box of a question, not yet shown, and its button `do`."""
    box = QMessageBox(parent)
    box.setWindowTitle(title)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setText(plain(question, limit=None, keep="\n"))
    yes = box.addButton(do, QMessageBox.ButtonRole.DestructiveRole)
    no = box.addButton(keep, QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(no)
    box.setEscapeButton(no)
    return box, yes


def confirm_end_of_recording(parent: QWidget, do: str) -> bool:
    """Ask whether the recording shall end; `do` is the button that ends it."""
    return confirm(
        parent,
        "A recording is running",
        f"{do}? The recording ends here; what was recorded is kept.",
        do=do,
        keep="Keep recording",
    )


def confirm_close(parent: QWidget) -> bool:
    """Ask whether the session that runs shall end with the window."""
    return confirm(
        parent,
        "A session is running",
        "A session is running. Stop it, save its files and close?",
        do="Stop and close",
        keep="Keep running",
    )


def confirm_delete(parent: QWidget, folder: Path) -> bool:
    """Ask whether a session shall go to the trash."""
    return confirm(
        parent,
        "Delete a session",
        f"Move the session {folder.name} with its recording and pictures to the trash?",
        do="Move to trash",
        keep="Keep it",
    )


def confirm_recovery(parent: QWidget, doubt: str) -> bool:
    """Ask whether a session in doubt runs nowhere any more; `doubt` says why it is asked."""
    return confirm(
        parent,
        "Does this session still run?",
        f"{doubt} Finish it only if it runs nowhere any more.",
        do="It runs nowhere: finish it",
        keep="Leave it alone",
    )


def move_to_trash(folder: Path) -> bool:
    """Move `folder` to the desktop's trash; return whether that worked."""
    return bool(QFile(str(folder)).moveToTrash())
