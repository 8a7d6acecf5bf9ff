"""Colours, type and style sheet of the window, dark and light.

Owns every colour and size that a view uses. Meaning is never in colour alone, and the colours
that carry meaning are told apart by colour-blind eyes (Okabe and Ito's set, shifted in
lightness for each background).
"""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtGui import QColor, QFont, QPalette
from PySide6.QtWidgets import QApplication

from app.view_models.signals.raster import RasterColors

FONT_FAMILIES = (
    *("Inter", "Segoe UI Variable Text", "Segoe UI", "SF Pro Text", "Helvetica Neue"),
    *("Noto Sans", "DejaVu Sans"),
)


@dataclass(frozen=True, slots=True)
class Theme:
    """One set of colours; names say the use, not the hue."""

    name: str
    window: str
    surface: str
    raised: str
    hover: str
    border: str
    text: str
    muted: str
    faint: str
    accent: str
    accent_text: str
    good: str
    warn: str
    bad: str
    record: str
    plot: str
    grid: str
    marker: str
    gap: str
    greyed: str
    traces: tuple[str, ...]

    def color(self, name: str, alpha: int = 255) -> QColor:
        """Return the colour called `name`."""
        color = QColor(getattr(self, name))
        color.setAlpha(alpha)
        return color

    def raster(self) -> RasterColors:
        """Return the plot's colours for the raster."""
        return RasterColors(
            background=_rgb(self.plot),
            grid=_rgb(self.grid),
            marker=_rgb(self.marker),
            gap=_rgb(self.gap),
            traces=tuple(_rgb(trace) for trace in self.traces),
            bad=_rgb(self.greyed),
        )


DARK = Theme(
    name="dark",
    window="#0d1015",
    surface="#151a21",
    raised="#1e252f",
    hover="#27303c",
    border="#262e39",
    text="#e8ecf2",
    muted="#a3afbe",
    faint="#77828f",
    accent="#8aa4ff",
    accent_text="#0b1020",
    good="#35c2a5",
    warn="#f0b545",
    bad="#f5806e",
    record="#ff5f57",
    plot="#151a21",
    grid="#1f2731",
    marker="#5b6f9e",
    gap="#5a4526",
    greyed="#46505c",
    traces=("#6fb8e6", "#e3b25e", "#4cc2a0", "#d694bb", "#9db2f5"),
)

LIGHT = Theme(
    name="light",
    window="#f2f4f8",
    surface="#ffffff",
    raised="#eef1f6",
    hover="#e3e8f0",
    border="#dde2ea",
    text="#18202c",
    muted="#4f5b6b",
    faint="#6b7684",
    accent="#3a5fd9",
    accent_text="#ffffff",
    good="#0a7665",
    warn="#9a6300",
    bad="#bf3f2b",
    record="#d8352b",
    plot="#ffffff",
    grid="#edf0f4",
    marker="#93a7dd",
    gap="#efd9ae",
    greyed="#b9c1cb",
    traces=("#1673ad", "#b06a00", "#00805f", "#a04e80", "#4a5fc0"),
)

THEMES = {theme.name: theme for theme in (DARK, LIGHT)}


_scale = [1.0]
"""Size of text, times its usual size; the last one that was applied."""


def text_scale() -> float:
    """Return the size of text, times its usual size."""
    return _scale[0]


def px(size: float) -> int:
    """Return a length that grows with the text, px."""
    return round(size * _scale[0])


def apply_theme(app: QApplication, theme: Theme, *, text_scale: float = 1.0) -> None:
    """Give the whole application the theme's font, palette and style sheet, unless it has them."""
    _scale[0] = text_scale
    sheet = style_sheet(theme, text_scale=text_scale)
    if app.styleSheet() == sheet:
        return  # it costs a third of a second, and says all that the font and the palette say
    app.setStyle("Fusion")
    app.setFont(text_font(13))
    app.setPalette(_palette(theme))
    app.setStyleSheet(sheet)


def text_font(pixels: int, *, bold: bool = False) -> QFont:
    """Return the window's font at `pixels` times the size of text."""
    return small_font(px(pixels), bold=bold)


def small_font(pixels: int, *, bold: bool = False) -> QFont:
    """Return the window's font at `pixels`, for a painter that scales all it paints."""
    font = QFont()
    font.setFamilies(list(FONT_FAMILIES))
    font.setPixelSize(pixels)
    font.setHintingPreference(QFont.HintingPreference.PreferNoHinting)
    if bold:
        font.setWeight(QFont.Weight.DemiBold)
    return font


def _palette(theme: Theme) -> QPalette:
    palette = QPalette()
    role = QPalette.ColorRole
    for target, name in (
        (role.Window, "window"),
        (role.WindowText, "text"),
        (role.Base, "surface"),
        (role.AlternateBase, "raised"),
        (role.Text, "text"),
        (role.Button, "raised"),
        (role.ButtonText, "text"),
        (role.ToolTipBase, "raised"),
        (role.ToolTipText, "text"),
        (role.Highlight, "accent"),
        (role.HighlightedText, "accent_text"),
        (role.PlaceholderText, "faint"),
        (role.Link, "accent"),
    ):
        palette.setColor(target, theme.color(name))
    for target in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, target, theme.color("faint"))
    return palette


def style_sheet(theme: Theme, *, text_scale: float = 1.0) -> str:
    """Return the style sheet of `theme`."""

    def px(size: float) -> str:
        return f"{round(size * text_scale)}px"

    t = theme
    families = ", ".join(f'"{family}"' for family in FONT_FAMILIES)
    return f"""
QWidget {{ color: {t.text}; font-family: {families}; font-size: {px(13)}; }}
QMainWindow, QDialog, #root {{ background: {t.window}; }}
QToolTip {{ background: {t.raised}; color: {t.text}; border: 1px solid {t.border};
  padding: 5px 8px; }}
#card {{ background: {t.surface}; border: 1px solid {t.border}; border-radius: 10px; }}
#topbar, #statusbar {{ background: {t.surface}; border: none; }}
#topbar {{ border-bottom: 1px solid {t.border}; }}
#statusbar {{ border-top: 1px solid {t.border}; }}
QLabel {{ background: transparent; }}
QLabel[role="muted"] {{ color: {t.muted}; }}
QLabel[role="faint"] {{ color: {t.faint}; }}
QLabel[role="title"] {{ font-size: {px(13)}; font-weight: 600; }}
QLabel[role="caption"] {{ color: {t.muted}; font-size: {px(12)}; }}
QLabel[role="small"] {{ color: {t.muted}; font-size: {px(11)}; }}
QLabel[role="hero"] {{ font-size: {px(30)}; font-weight: 600; }}
QLabel[role="lead"] {{ color: {t.muted}; font-size: {px(15)}; }}
QLabel[role="brand"] {{ font-size: {px(16)}; font-weight: 650; }}
QLabel[role="number"] {{ font-size: {px(22)}; font-weight: 600; }}
QLabel[tone="good"] {{ color: {t.good}; }}
QLabel[tone="warn"] {{ color: {t.warn}; }}
QLabel[tone="bad"] {{ color: {t.bad}; }}
QPushButton {{ background: {t.raised}; border: 1px solid {t.border}; border-radius: 7px;
  padding: 0 12px; min-height: {px(30)}; }}
QPushButton:hover {{ background: {t.hover}; }}
QPushButton:pressed {{ background: {t.border}; }}
QPushButton:focus {{ border: 1px solid {t.accent}; }}
QPushButton:disabled {{ color: {t.faint}; background: {t.surface}; }}
QPushButton:checked {{ background: {t.hover}; border-color: {t.accent}; }}
QPushButton[kind="primary"] {{ background: {t.accent}; color: {t.accent_text};
  border: 1px solid {t.accent}; font-weight: 600; }}
QPushButton[kind="primary"]:hover {{ background: {QColor(t.accent).lighter(108).name()}; }}
QPushButton[kind="primary"]:focus {{ border: 1px solid {t.text}; }}
QPushButton[kind="primary"]:disabled {{ background: {t.raised}; color: {t.faint};
  border-color: {t.border}; }}
QPushButton[kind="large"] {{ background: {t.accent}; color: {t.accent_text};
  border: 1px solid {t.accent}; font-weight: 600; font-size: {px(15)};
  min-height: {px(44)}; padding: 0 22px; border-radius: 9px; }}
QPushButton[kind="large"]:hover {{ background: {QColor(t.accent).lighter(108).name()}; }}
QPushButton[kind="large"]:focus {{ border: 1px solid {t.text}; }}
QPushButton[kind="plain"] {{ background: transparent; border: 1px solid transparent;
  padding: 0 7px; min-height: {px(26)}; }}
QPushButton[kind="menu"] {{ background: transparent; border: 1px solid transparent;
  padding: 0 7px; min-height: {px(26)}; }}
QPushButton[kind="menu"]:hover {{ background: {t.hover}; }}
QPushButton[kind="menu"]:focus {{ border: 1px solid {t.accent}; }}
QPushButton::menu-indicator {{ image: none; width: 0; }}
QMenu {{ background: {t.surface}; border: 1px solid {t.border}; padding: 6px; }}
QMenu::item {{ padding: 6px 28px 6px 14px; border-radius: 6px; }}
QMenu::item:selected {{ background: {t.hover}; }}
QMenu::item:disabled {{ color: {t.faint}; }}
QMenu::separator {{ height: 1px; background: {t.border}; margin: 5px 8px; }}
QSplitter::handle {{ background: transparent; }}
QSplitter::handle:hover {{ background: {t.hover}; }}
QPushButton[kind="mini"] {{ background: transparent; border: 1px solid transparent;
  padding: 0 6px; min-height: {px(19)}; font-size: {px(12)}; border-radius: 6px; }}
QPushButton[kind="mini"]:checked {{ background: {t.hover}; border-color: {t.accent}; }}
QPushButton[kind="mini"]:focus {{ border: 1px solid {t.accent}; }}
QPushButton[kind="mini"]:hover, QPushButton[kind="plain"]:hover {{ background: {t.hover}; }}
QPushButton[kind="plain"]:checked {{ background: {t.hover}; }}
QPushButton[kind="plain"]:focus {{ border: 1px solid {t.accent}; }}
QLineEdit, QComboBox {{ background: {t.raised}; border: 1px solid {t.border};
  border-radius: 7px; padding: 0 9px; min-height: {px(30)};
  selection-background-color: {t.accent}; selection-color: {t.accent_text}; }}
QLineEdit:focus, QComboBox:focus {{ border: 1px solid {t.accent}; }}
QPlainTextEdit {{ background: {t.raised}; border: 1px solid {t.border}; border-radius: 7px;
  padding: 4px 6px; selection-background-color: {t.accent};
  selection-color: {t.accent_text}; }}
QPlainTextEdit:focus {{ border: 1px solid {t.accent}; }}
QLineEdit[invalid="true"] {{ border: 1px solid {t.bad}; }}
QLineEdit:disabled, QComboBox:disabled {{ color: {t.faint}; background: {t.surface}; }}
QScrollArea {{ background: transparent; }}
QCheckBox {{ spacing: 8px; min-height: {px(26)}; }}
QCheckBox::indicator {{ width: {px(17)}; height: {px(17)}; border: 1px solid {t.faint};
  border-radius: 4px; background: {t.raised}; }}
QCheckBox::indicator:hover, QCheckBox::indicator:focus {{ border-color: {t.accent}; }}
QCheckBox::indicator:checked {{ background: {t.accent}; border-color: {t.accent}; }}
QSpinBox, QDoubleSpinBox {{ background: {t.raised}; border: 1px solid {t.border};
  border-radius: 7px; padding: 0 9px; min-height: {px(28)}; }}
QListWidget {{ background: {t.surface}; border: 1px solid {t.border}; border-radius: 8px;
  outline: none; padding: 4px; }}
QListWidget::item {{ min-height: {px(28)}; border-radius: 6px; padding-left: 6px; }}
QListWidget::item:selected {{ background: {t.hover}; color: {t.text}; }}
QComboBox::drop-down {{ border: none; width: 22px; }}
QComboBox::down-arrow {{ image: none; width: 0; height: 0; }}
QComboBox[kind="small"] {{ min-height: {px(24)}; padding: 0 7px; font-size: {px(12)};
  border-radius: 6px; }}
QComboBox QAbstractItemView {{ background: {t.surface}; border: 1px solid {t.border};
  outline: none; padding: 4px; selection-background-color: {t.hover};
  selection-color: {t.text}; }}
QTreeWidget {{ background: {t.surface}; border: 1px solid {t.border}; border-radius: 8px;
  outline: none; }}
QTreeWidget::item {{ min-height: {px(30)}; border: none; padding-left: 4px; }}
QTreeWidget::item:hover {{ background: {t.raised}; }}
QTreeWidget::item:selected {{ background: {t.hover}; color: {t.text}; }}
QHeaderView {{ background: transparent; border: none; }}
QHeaderView::section {{ background: transparent; color: {t.faint}; border: none;
  border-bottom: 1px solid {t.border}; padding: 6px 8px; font-size: {px(11)}; }}
QSlider::groove:horizontal {{ background: {t.raised}; height: 6px; border-radius: 3px; }}
QSlider::sub-page:horizontal {{ background: {t.accent}; border-radius: 3px; }}
QSlider::handle:horizontal {{ background: {t.text}; width: 14px; margin: -4px 0;
  border-radius: 7px; }}
QSlider:focus {{ background: {t.hover}; border-radius: 7px; }}
QSlider::sub-page:horizontal:disabled, QSlider::handle:horizontal:disabled {{
  background: {t.border}; }}
QScrollBar:horizontal {{ background: transparent; height: 8px; margin: 0; }}
QScrollBar:vertical {{ background: transparent; width: 8px; margin: 0; }}
QScrollBar::handle {{ background: {t.hover}; border-radius: 4px; min-width: 28px;
  min-height: 28px; }}
QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page {{
  background: transparent; width: 0; height: 0; }}
#banner {{ background: {_mix(t.surface, t.bad, 0.16)};
  border: 1px solid {_mix(t.surface, t.bad, 0.55)}; border-radius: 8px; }}
#banner[tone="warn"] {{ background: {_mix(t.surface, t.warn, 0.12)};
  border-color: {_mix(t.surface, t.warn, 0.5)}; }}
#banner[tone="good"] {{ background: {_mix(t.surface, t.good, 0.14)};
  border-color: {_mix(t.surface, t.good, 0.5)}; }}
"""


def _mix(back: str, front: str, share: float) -> str:
    a, b = QColor(back), QColor(front)
    parts = (
        round(x + share * (y - x))
        for x, y in ((a.red(), b.red()), (a.green(), b.green()), (a.blue(), b.blue()))
    )
    return "#" + "".join(f"{part:02x}" for part in parts)


def _rgb(name: str) -> tuple[int, int, int]:
    color = QColor(name)
    return color.red(), color.green(), color.blue()
