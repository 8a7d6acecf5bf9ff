"""Each electrode's peak to peak, its impedance where measured, in as many cells as fit.

Owns the grid and its painting, beside the head; `HeadModel` owns the figures.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter

from app import formatting
from app.view_models.signals.head import Electrode
from app.views.common.painted import elided
from app.views.common.theme import Theme, small_font

_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
HEAD = 19
"""Height of the heading, px."""
CELLS = ((104.0, 19.0), (104.0, 16.0), (80.0, 19.0), (80.0, 16.0))
"""Width and height of a cell, from roomy to as narrow as can be read, px."""
NAME, VALUE, KOHM = 42.0, 74.0, 50.0
"""Where in a cell the name and the value end, and what an impedance is wider, px."""


def cell_grid(
    n: int, width: float, height: float, extra: float = 0.0
) -> tuple[int, int, float, float]:
    """Return the roomiest grid for `n` cells, else the densest: rows, columns, width, height.

    `width` and `height` are the room, px; `extra` is what a cell is wider than a value alone.
    """
    n_rows, n_columns, across, down = 0, 1, *CELLS[0]
    for across, down in CELLS:
        n_rows, n_columns = int(height // down), max(1, int(width // (across + extra)))
        if n_rows * n_columns >= n:
            break
    return n_rows, n_columns, min(CELLS[0][0] + extra, width / n_columns), down


def paint_cells(
    painter: QPainter, box: QRectF, electrodes: Sequence[Electrode], theme: Theme
) -> None:
    """Paint heading and cells into `box`; what does not fit is counted in the last cell."""
    known = [e for e in electrodes if e.peak_to_peak_uv is not None]
    measured = any(e.kohm is not None for e in known)
    n_rows, n_columns, across, down = cell_grid(
        len(known), box.width(), box.height() - HEAD, KOHM if measured else 0.0
    )
    if not known or n_rows < 1:
        return
    painter.setFont(small_font(11))
    painter.setPen(theme.color("faint"))
    words = "Peak to peak in the newest second, µV"
    head = QRectF(box.left(), box.top(), box.width(), HEAD)
    painter.drawText(head, _LEFT, f"{words}, and impedance, kΩ" if measured else words)
    n_more = len(known) - n_rows * n_columns
    shown = known[: -n_more - 1] if n_more > 0 else known
    n_rows = min(n_rows, -(-len(known) // n_columns))
    for at, electrode in enumerate((*shown, None) if n_more > 0 else shown):
        column, row = divmod(at, n_rows)
        cell = QRectF(box.left() + column * across, head.bottom() + row * down, across, down)
        if electrode is None:
            painter.setPen(theme.color("muted"))
            painter.drawText(cell, _LEFT, f"and {n_more + 1} more")
        else:
            paint_cell(painter, cell, electrode, theme)


def paint_cell(painter: QPainter, cell: QRectF, electrode: Electrode, theme: Theme) -> None:
    """Paint one electrode's name and figures."""
    painter.setPen(theme.color("muted"))
    name = elided(painter.fontMetrics(), electrode.ch_name, NAME)
    painter.drawText(cell, _LEFT, name)
    x, y, height = cell.left(), cell.top(), cell.height()
    if electrode.kohm is not None:
        impedance = formatting.kiloohm(electrode.kohm).removesuffix(" kΩ")
        painter.drawText(QRectF(x + VALUE, y, KOHM - 8, height), _RIGHT, impedance)
    painter.setPen(theme.color("text"))
    painter.drawText(QRectF(x, y, VALUE, height), _RIGHT, f"{electrode.peak_to_peak_uv:.0f}")
