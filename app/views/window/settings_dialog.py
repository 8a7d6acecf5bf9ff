"""Settings: the window's own, and every setting of a session for the chosen preset.

Owns the dialog; `SettingsForm` knows the settings and their rules.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QCompleter,
    QDialog,
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app.view_models.settings.form import Kind, SettingField, SettingsForm
from app.view_models.settings.preferences import (
    SESSIONS,
    TEXT_SCALES,
    Preferences,
    PreferencesStore,
)
from app.views.common.painted import Button, Check, Combo, set_text, set_tone, text_label
from app.views.common.theme import THEMES, px
from configs import SessionConfig

WINDOW = "Window"


class SettingRow(QWidget):
    """A setting with its title, its explanation and what is wrong with it."""

    changed = Signal(str, str)

    def __init__(
        self, field: SettingField, known: Sequence[str] = (), parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.field, self._known = field, known
        self.title = text_label(field.title)
        self.problem = text_label("", "small")
        self.problem.setWordWrap(True)
        set_tone(self.problem, "bad")
        self.input = self._make_input()
        self.input.setAccessibleName(field.title)
        self.input.setAccessibleDescription(field.about)
        about = text_label(field.about, "small")
        about.setWordWrap(True)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 6, 12)
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(3)
        top = Qt.AlignmentFlag.AlignTop
        grid.addWidget(self.title, 0, 0, Qt.AlignmentFlag.AlignVCenter)
        grid.addWidget(self.input, 0, 1)
        grid.addWidget(self.problem, 1, 1)
        grid.addWidget(about, 2, 1, top)
        grid.setColumnMinimumWidth(0, px(150))
        grid.setColumnStretch(1, 1)

    def show_text(self, text: str, *, is_changed: bool, problem: str) -> None:
        """Show the setting."""
        widget = self.input
        if isinstance(widget, QCheckBox):
            widget.setChecked(text == "on")
        elif isinstance(widget, Combo):
            widget.setCurrentIndex(widget.findData(text))
        elif isinstance(widget, QLineEdit) and widget.text() != text:
            widget.setText(text)
        set_text(self.title, f"{self.field.title}{' •' if is_changed else ''}")
        self.title.setToolTip("Differs from the preset as it ships" if is_changed else "")
        set_text(self.problem, problem)
        self.problem.setVisible(bool(problem))

    def _make_input(self) -> QWidget:
        path = self.field.path
        if self.field.kind is Kind.SWITCH:
            box = Check()
            box.toggled.connect(lambda on: self.changed.emit(path, "on" if on else "off"))
            return box
        if self.field.kind is Kind.CHOICE:
            combo = Combo()
            for word in self.field.choices:
                combo.addItem(word or "as the stream says", word)
            combo.activated.connect(lambda at: self.changed.emit(path, str(combo.itemData(at))))
            return combo
        line = QLineEdit()
        line.setPlaceholderText("none")
        line.textEdited.connect(lambda text: self.changed.emit(path, text))
        if self._known:
            line.setPlaceholderText(f"none, or one of {', '.join(self._known)}")
            completer = QCompleter(self._known, line)
            completer.activated.connect(lambda text: self.changed.emit(path, text))
            line.setCompleter(completer)
        return line


class SettingsDialog(QDialog):
    """All settings; `result_config` and `result_preferences` once it was accepted."""

    def __init__(
        self,
        form: SettingsForm,
        preferences: PreferencesStore,
        *,
        preset: str,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Settings")
        self.resize(QSize(px(760), px(620)))
        self.form = form
        self._preferences = preferences
        self.rows: dict[str, SettingRow] = {}
        self.places = QListWidget()
        self.stack = QStackedWidget()
        self.theme = Combo()
        self.text_scale = Combo()
        self.open_report = Check()
        self.confirm = Check()
        self.sessions_folder = QLineEdit()
        self.browse = Button("Choose…", icon_name="folder", tip="Choose the folder of sessions")
        self.note = text_label("", "caption")
        self.reset_button = Button(
            "Restore defaults", tip="Every setting of the session as the preset ships"
        )
        self.cancel_button = Button("Cancel", tip="Change nothing (Esc)")
        self.save_button = Button(f"Save for “{preset}”", kind="primary", tip="Keep the settings")
        self._build()
        self._show()

    @property
    def result_config(self) -> SessionConfig | None:
        """The session's settings."""
        return self.form.result

    @property
    def result_preferences(self) -> Preferences:
        """The window's settings."""
        return Preferences.model_validate(
            {
                "theme": str(self.theme.currentData()),
                "text_scale": float(self.text_scale.currentData()),
                "open_report": self.open_report.isChecked(),
                "confirm": self.confirm.isChecked(),
                "sessions_folder": self.sessions_folder.text().strip() or SESSIONS,
            }
        )

    def open_section(self, title: str) -> None:
        """Show the settings called `title`."""
        found = self.places.findItems(title, Qt.MatchFlag.MatchExactly)
        if found:
            self.places.setCurrentItem(found[0])

    def _choose_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(
            self, "Folder of sessions", self.sessions_folder.text()
        )
        if name:
            self.sessions_folder.setText(name)

    def _take(self, path: str, text: str) -> None:
        self.form.set_text(path, text)
        self._show()

    def _reset(self) -> None:
        self.form.reset()
        self._show()

    def _show(self) -> None:
        form = self.form
        for path, row in self.rows.items():
            row.show_text(
                form.texts[path],
                is_changed=form.is_changed(path),
                problem=form.problems.get(path, ""),
            )
        self.save_button.setEnabled(form.result is not None)
        set_text(self.note, self._sentence())
        set_tone(self.note, "bad" if form.problems else "")

    def _sentence(self) -> str:
        for path, words in self.form.problems.items():
            return f"{self.rows[path].field.title}: {words}"
        n = sum(self.form.is_changed(path) for path in self.rows)
        if n:
            verb = "differs" if n == 1 else "differ"
            return f"• {n} {verb} from the preset as it ships; used from the next start on."
        return "Settings of a session are used from the next start on."

    def _build(self) -> None:
        self.places.setFixedWidth(px(160))
        self.places.setAccessibleName("Sections")
        self.places.addItem(WINDOW)
        self.stack.addWidget(_scrolled(self._window_page()))
        for section in self.form.sections:
            self.places.addItem(section.title)
            page = QWidget()
            column = QVBoxLayout(page)
            column.setContentsMargins(4, 4, 4, 4)
            for field in section.fields:
                row = self.rows[field.path] = SettingRow(field, self.form.known.get(field.path, ()))
                row.changed.connect(self._take)
                column.addWidget(row)
            column.addStretch(1)
            self.stack.addWidget(_scrolled(page))
        self.places.currentRowChanged.connect(self.stack.setCurrentIndex)
        self.places.setCurrentRow(0)
        self.reset_button.clicked.connect(self._reset)
        self.cancel_button.clicked.connect(self.reject)
        self.save_button.clicked.connect(self.accept)
        self.note.setWordWrap(True)
        upper = QHBoxLayout()
        upper.setSpacing(16)
        upper.addWidget(self.places)
        upper.addWidget(self.stack, 1)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(self.reset_button)
        buttons.addWidget(self.note, 1)
        buttons.addWidget(self.cancel_button)
        buttons.addWidget(self.save_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 14)
        layout.setSpacing(12)
        layout.addLayout(upper, 1)
        layout.addLayout(buttons)

    def _window_page(self) -> QWidget:
        value = self._preferences.value
        for name in THEMES:
            self.theme.addItem(name.capitalize(), name)
        self.theme.setCurrentIndex(self.theme.findData(value.theme))
        for scale in TEXT_SCALES:
            self.text_scale.addItem(f"{100 * scale:.0f} %", scale)
        at = min(range(len(TEXT_SCALES)), key=lambda k: abs(TEXT_SCALES[k] - value.text_scale))
        self.text_scale.setCurrentIndex(at)
        self.open_report.setChecked(value.open_report)
        self.confirm.setChecked(value.confirm)
        self.sessions_folder.setText(str(value.sessions_path))
        self.browse.clicked.connect(self._choose_folder)
        folder = QWidget()
        line = QHBoxLayout(folder)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.sessions_folder, 1)
        line.addWidget(self.browse)
        self.sessions_folder.setAccessibleName("Folder of sessions")
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(4, 4, 4, 4)
        for title, widget, name in (
            ("Colours", self.theme, "theme"),
            ("Size of text", self.text_scale, "text_scale"),
            ("Folder of sessions", folder, "sessions_folder"),
            ("Open the report", self.open_report, "open_report"),
            ("Ask first", self.confirm, "confirm"),
        ):
            widget.setAccessibleName(title)
            about = Preferences.model_fields[name].description or ""
            column.addWidget(_plain_row(title, widget, " ".join(about.split())))
        column.addStretch(1)
        return page


def _plain_row(title: str, widget: QWidget, about: str) -> QWidget:
    row = QWidget()
    words: QLabel = text_label(about, "small")
    words.setWordWrap(True)
    grid = QGridLayout(row)
    grid.setContentsMargins(0, 0, 6, 12)
    grid.setHorizontalSpacing(14)
    grid.setVerticalSpacing(3)
    grid.addWidget(text_label(title), 0, 0)
    grid.addWidget(widget, 0, 1)
    grid.addWidget(words, 1, 1)
    grid.setColumnMinimumWidth(0, px(150))
    grid.setColumnStretch(1, 1)
    return row


def _scrolled(page: QWidget) -> QScrollArea:
    area = QScrollArea()
    page.setObjectName("root")
    area.setWidget(page)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area
