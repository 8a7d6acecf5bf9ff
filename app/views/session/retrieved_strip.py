"""The nearest of a store of vectors to the decoded one, as a ranked strip under the pictures.

Owns the row; a label with a picture in the gallery on show is that picture, any other is its name.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app import formatting
from app.view_models.session.pictures import PictureLoader
from app.views.common.painted import elided, set_text, text_label
from app.views.session.picture_view import PictureView

N_SHOWN = 5
_SIDE = 56


class RetrievedStrip(QWidget):
    """A row of places, best first; hidden while nothing was retrieved."""

    def __init__(self, load_picture: PictureLoader, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._load = load_picture
        self.views = [PictureView(minimum=_SIDE, radius=6) for _ in range(N_SHOWN)]
        self.words = [text_label("", "small") for _ in range(N_SHOWN)]
        row = QHBoxLayout()
        row.setSpacing(8)
        for view, word in zip(self.views, self.words, strict=True):
            view.setFixedSize(_SIDE, _SIDE)
            word.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            word.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            column = QVBoxLayout()
            column.setSpacing(2)
            column.addWidget(view, 0, Qt.AlignmentFlag.AlignHCenter)
            column.addWidget(word)
            row.addLayout(column, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(text_label("Retrieved: nearest of the store, with the cosine", "caption"))
        layout.addLayout(row)
        self.hide()

    def set_values(self, retrieved: tuple[tuple[str, float], ...]) -> None:
        """Show the best of `retrieved`, (label, cosine) each; none hides the strip."""
        self.setVisible(bool(retrieved))
        for place, (view, word) in enumerate(zip(self.views, self.words, strict=True)):
            label, cosine = retrieved[place] if place < len(retrieved) else ("", 0.0)
            name = formatting.label(label) if label else ""
            view.set_pixels(self._load(label) if label else None, word=name)
            view.setToolTip(name)
            text = f"{cosine:.2f} {name}" if label else ""
            set_text(word, elided(word.fontMetrics(), text, max(_SIDE, word.width())))
