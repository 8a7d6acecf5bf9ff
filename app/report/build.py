"""From a session folder to `report.html`.

Owns the page: template, order of the parts, writing in one step. Knows nothing of what a part
says.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from string import Template

from app.report import sections
from app.report.classes import confusions
from app.report.markup import Markup, escape, join
from app.report.pictures import Stimuli, gallery_stimuli
from app.report.record import ReportError, SessionRecord, read_record
from app.report.repetitions import repetitions
from app.report.screen import presentation
from configs.private import open_private


def build_report(folder: Path, *, stimuli: Stimuli | None = None) -> Path:
    """Write `report.html` into a finished session folder.

    Parameters
    ----------
    folder : Path
        A session folder with at least `summary.json`.
    stimuli : callable, optional
        Label to picture, (height, width, 3) uint8; the session's gallery by default.

    Returns
    -------
    Path
        The report: one file that loads nothing from anywhere.

    Raises
    ------
    ReportError
        The folder holds no session, or the report cannot be written.
    """
    page = report_page(folder, stimuli=stimuli)
    path = folder / "report.html"
    partial = folder / "report.html.partial"
    try:
        with open_private(partial, "w", encoding="utf-8") as stream:
            stream.write(page)
        partial.replace(path)
    except OSError as error:
        raise ReportError(
            f"{path}: cannot be written ({error.strerror}): make room or allow writing there."
        ) from None
    return path


def report_page(folder: Path, *, stimuli: Stimuli | None = None, with_pictures: bool = True) -> str:
    """Return the page of a finished session folder; see `build_report`."""
    record = read_record(folder)
    return render(record, stimuli or gallery_stimuli(record), with_pictures=with_pictures)


def render(record: SessionRecord, stimuli: Stimuli, *, with_pictures: bool = True) -> str:
    """Return the whole page."""
    parts: list[Markup | None] = [
        sections.header(record),
        sections.key_figures(record),
        sections.findings(record),
        sections.pictures(record, stimuli) if with_pictures else None,
        confusions(record),
        repetitions(record),
        sections.charts(record),
        presentation(record),
        sections.refusals(record),
        sections.settings(record),
        sections.footer(record),
    ]
    template = resources.files("app.report").joinpath("template.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(f"Phosphene session {record.folder.resolve().name}"),
        body=join(parts),
    )
