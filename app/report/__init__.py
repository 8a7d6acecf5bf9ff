"""A session for a person: one HTML file with pictures, plots and plain sentences.

Owns `report.html`. Reads a finished session folder only; knows nothing of the running session,
of Qt, LSL or torch. Everything read from a file is untrusted text and is escaped.
"""

from app.report.build import build_report, report_page
from app.report.record import ReportError

__all__ = ["ReportError", "build_report", "report_page"]
