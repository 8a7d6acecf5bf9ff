"""A session for a person: one HTML file with pictures, plots and plain sentences.

Owns `report.html`, and `grid.webp` where classes were decoded. Reads a finished session folder
only; knows nothing of the running session, of Qt, LSL or torch. Everything read from a file is
untrusted text and is escaped.
"""

from app.report.build import build_report, report_page
from app.report.grid import GRID, grid_of
from app.report.record import ReportError

__all__ = ["GRID", "ReportError", "build_report", "grid_of", "report_page"]
