"""The page that asks for classes and their pictures, once a recording is read.

Owns the table's widgets; `ClassTable` keeps what was chosen.
"""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QIcon, QPixmap, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QFrame, QGridLayout, QLineEdit, QScrollArea, QWidget

from app import formatting
from app.calibration.steps import FlowView
from app.view_models.calibration.classes import NONE, ClassTable
from app.view_models.calibration.model import CalibrationModel
from app.views.calibration.pages import Page, wrapped
from app.views.common.painted import Combo, set_text, set_tone, text_label, to_image
from app.views.common.theme import px

THUMBNAIL = 36
FOG = "fog (no picture)"


class ClassesPage(Page):
    """Two columns: a marker's class, and its picture."""

    title = "Classes and pictures"

    def __init__(self, model: CalibrationModel) -> None:
        super().__init__(model)
        self.column.addWidget(text_label("What was shown, and what is drawn?", "hero"))
        self.column.addWidget(
            wrapped(
                "lead",
                "Name the class of each marker; markers of one name are one class, and one without "
                "a name does not count. A class without a picture is drawn as fog.",
            )
        )
        self.names: list[QLineEdit] = []
        self.pictures: list[Combo] = []
        self.grid = QGridLayout()
        self.grid.setHorizontalSpacing(14)
        self.grid.setVerticalSpacing(6)
        self.grid.setColumnStretch(1, 1)
        self.grid.setColumnStretch(2, 1)
        rows = QWidget()
        rows.setObjectName("root")
        rows.setLayout(self.grid)
        area = QScrollArea()
        area.setAccessibleName("Classes and pictures")
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setWidget(rows)
        self.column.addWidget(area, 1)
        self.problem = text_label("", "muted")
        self.column.addWidget(self.problem)
        self._shown: ClassTable | None = None

    def refresh(self, view: FlowView) -> None:
        """Build the rows of a new recording once."""
        _ = view
        table = self.model.table
        if table is None:
            return
        if table is not self._shown:
            self._shown = table
            self._build(table)
        n = len(table.pictures)
        set_text(self.problem, table.problem or f"{n} classes.")
        set_tone(self.problem, "warn" if table.problem else "")

    def _build(self, table: ClassTable) -> None:
        while (item := self.grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        self.names, self.pictures = [], []
        for column, words in enumerate(("Marker", "Class", "Drawn as")):
            self.grid.addWidget(text_label(words, "muted"), 0, column)
        self._items = _pictures_of(table)
        for number, row in enumerate(table.rows):
            about = f"{row.label} ({formatting.count(row.count, 'epoch')})"
            name, picture = QLineEdit(row.name), Combo()
            name.setPlaceholderText("does not count")
            name.setAccessibleName(f"Class of {row.label}")
            name.textEdited.connect(lambda text, n=number: self._rename(n, text))
            picture.setAccessibleName(f"Picture of {row.label}")
            picture.setIconSize(QSize(px(THUMBNAIL), px(THUMBNAIL)))
            picture.setMaxVisibleItems(12)
            picture.setModel(self._items)
            picture.activated.connect(lambda at, n=number: self._draw(n, at))
            self.names.append(name)
            self.pictures.append(picture)
            label = text_label(about)
            label.setTextFormat(Qt.TextFormat.PlainText)  # somebody else's markers
            for column, widget in enumerate((label, name, picture)):
                self.grid.addWidget(widget, number + 1, column)
        self.grid.setRowStretch(len(table.rows) + 1, 1)
        self._choose()

    def _choose(self) -> None:
        """Show the table's pictures, and switch off those of markers that do not count."""
        if self._shown is None:
            return
        for row, picture in zip(self._shown.rows, self.pictures, strict=True):
            picture.setCurrentIndex(max(0, picture.findData(row.picture)))
            picture.setEnabled(bool(row.name))

    def _rename(self, number: int, text: str) -> None:
        if self._shown is not None:
            self._shown.rename(number, text)
            self._choose()
            self.refresh(self.model.view)

    def _draw(self, number: int, at: int) -> None:
        if self._shown is not None:
            self._shown.draw(number, str(self.pictures[number].itemData(at)))
            self._choose()


def _pictures_of(table: ClassTable) -> QStandardItemModel:
    """Every picture of the gallery with its thumbnail, fog first: one list for all rows."""
    items = QStandardItemModel()
    fog = QStandardItem(FOG)
    fog.setData(NONE, Qt.ItemDataRole.UserRole)
    items.appendRow(fog)
    for label in table.gallery.labels:
        image = to_image(table.gallery.image(label, size=2 * THUMBNAIL))
        item = QStandardItem(QIcon(QPixmap.fromImage(image)), label)
        item.setData(label, Qt.ItemDataRole.UserRole)
        items.appendRow(item)
    return items
