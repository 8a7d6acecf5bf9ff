"""Pictures out of the window: clipboard, one file, the whole history.

Owns the questions where to, and the task that writes; what is written is `view_models.export`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtWidgets import QApplication, QFileDialog, QWidget

from app import formatting
from app.view_models.session.export import BackgroundTask, export_history, save_picture
from app.view_models.session.history import HistoryModel
from app.view_models.session.pictures import PictureLoader
from app.views.common.painted import to_image
from app.views.session.picture_panel import PicturePanel
from app.views.session.status_bar import Banner

EXPORTS = ("Grid of pictures (*.png)", "Animation (*.gif)", "Video (*.mp4)")


class PictureActions:
    """Copy, save and export; `poll` tells the banner how it ended."""

    def __init__(
        self,
        parent: QWidget,
        panel: PicturePanel,
        history: HistoryModel,
        banner: Banner,
        load: PictureLoader,
    ) -> None:
        self._parent, self._panel, self._history = parent, panel, history
        self._banner, self._load = banner, load
        self.task = BackgroundTask()
        self._words, self._path = "", Path()

    def copy(self) -> None:
        """Put the decoded picture on the clipboard."""
        shown = self._panel.shown
        if shown is not None and shown.pixels is not None:
            QApplication.clipboard().setImage(to_image(shown.pixels))

    def save(self) -> None:
        """Ask where to, and save the decoded picture as PNG."""
        shown = self._panel.shown
        if shown is None or shown.pixels is None:
            return
        pixels = shown.pixels
        name, _ = QFileDialog.getSaveFileName(
            self._parent,
            "Save the picture",
            f"picture-{shown.index + 1:06d}.png",
            "Picture (*.png)",
        )
        if name:
            path = Path(name if Path(name).suffix else f"{name}.png")
            self._run(lambda: save_picture(path, pixels), "Picture saved as", path)

    def export(self) -> None:
        """Ask where to, and save all pictures as a grid or an animation."""
        results = self._history.pictures
        if not results:
            return
        name, kind = QFileDialog.getSaveFileName(
            self._parent, "Export the history", "history.png", ";;".join(EXPORTS)
        )
        if name:
            suffix = dict(zip(EXPORTS, (".png", ".gif", ".mp4"), strict=True)).get(kind, ".png")
            path = Path(name if Path(name).suffix else name + suffix)
            self._run(
                lambda: export_history(path, results, self._load), "History exported as", path
            )

    def poll(self) -> None:
        """Say how a task ended, once."""
        outcome = self.task.poll()
        if outcome:
            self._banner.show_error(outcome)
        elif outcome is not None:
            words = f"{self._words} {formatting.short_path(self._path)}."
            self._banner.show_note(words, self._path.parent)

    def close(self) -> None:
        """Wait for a task that is under way."""
        self.task.close()

    def _run(self, call: Callable[[], None], words: str, path: Path) -> None:
        if self.task.start(call):
            self._words, self._path = words, path
