"""The picture of `docs/architecture.md`: `python -m research.figures.way_of_data`.

Owns the rooms, the arrows between them, and how both are drawn. What an arrow carries and what
keeps it stands in the page's table under the arrow's number; a test compares the two, and looks
whether every folder that the picture names is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

TARGET = Path("docs/img/way-of-data.svg")
SIZE = (1540, 900)
FILLS = {
    "app": "#e3ecfb",
    "devices": "#dff3e4",
    "models": "#fbe6dc",
    "pipeline": "#f7f0cf",
    "configs": "#ece4f5",
    "phosphene": "#e3ecfb",
    "": "#ffffff",
}
"""A colour for each package; without one: a file or a person."""
ROOM = (236, 62)


@dataclass(frozen=True, slots=True)
class Room:
    """A folder or file of the code (`path`, empty for things outside of it) at `x`, `y`, px."""

    title: str
    path: str
    x: int
    y: int

    @property
    def package(self) -> str:
        """The root package, whose colour it has."""
        return self.path.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Arrow:
    """Way number `number` along `points`; `carries` stands beside it at `at`."""

    number: int
    carries: str
    points: tuple[tuple[int, int], ...]
    at: tuple[int, int]


FRAMES = (
    ("where signals come from", 20, 60, 276, 560),
    ("main process, threads: no Qt, no torch", 386, 60, 396, 560),
    ("decoder process: the only torch", 872, 60, 276, 560),
    ("what comes of it", 1244, 60, 276, 560),
    ("before and around a session", 20, 660, 1500, 220),
)
"""Title, x, y, width, height."""

ROOMS = (
    Room("Boards", "devices/brainflow_bridge.py", 40, 100),
    Room("Virtual headset", "devices/virtual", 40, 200),
    Room("LSL inlet", "devices/lsl", 40, 330),
    Room("Files by format", "devices/files", 40, 430),
    Room("Replay", "devices/replay.py", 40, 530),
    Room("Recorder", "devices/stream_recorder.py", 466, 100),
    Room("Acquisition", "app/runtime/acquisition.py", 466, 330),
    Room("Live path, pure", "pipeline/live.py", 466, 530),
    Room("Worker", "app/runtime/worker.py", 892, 530),
    Room("Encoder, adapted", "models/api.py", 892, 400),
    Room("Sampler: draws", "models/sampling", 892, 140),
    Room("Session, its ledger", "app/runtime/session.py", 1264, 530),
    Room("Session folder", "app/runtime/folder.py", 1264, 400),
    Room("Report", "app/report", 1264, 270),
    Room("Window", "app/views", 1264, 140),
    Room("Stimulus window", "app/views/stimuli", 40, 710),
    Room("Commands, library", "phosphene", 466, 710),
    Room("Registry of systems", "models/registry.py", 892, 710),
    Room("Calibration", "app/calibration", 1264, 710),
    Room("Adapter store", "models/adapters", 892, 800),
    Room("Gallery: ranks", "pipeline/gallery", 1264, 800),
    Room("Settings and facts", "configs", 466, 800),
    Room("A person", "", 40, 800),
)

ARROWS = (
    Arrow(1, "LSL stream", ((158, 262), (158, 330)), (166, 302)),
    Arrow(1, "", ((276, 131), (288, 131), (288, 345), (276, 345)), (166, 302)),
    Arrow(2, "recording", ((158, 492), (158, 530)), (166, 517)),
    Arrow(3, "packets", ((276, 361), (466, 361)), (300, 353)),
    Arrow(3, "", ((276, 561), (340, 561), (340, 376), (466, 376)), (300, 353)),
    Arrow(4, "raw packets", ((584, 330), (584, 162)), (592, 250)),
    Arrow(5, "packets", ((584, 392), (584, 530)), (592, 465)),
    Arrow(6, "epochs", ((702, 561), (892, 561)), (712, 550)),
    Arrow(7, "epoch", ((1010, 530), (1010, 462)), (1018, 500)),
    Arrow(8, "embedding", ((1500, 578), (1511, 578), (1511, 831), (1500, 831)), (1404, 645)),
    Arrow(9, "embedding", ((1010, 400), (1010, 202)), (1018, 300)),
    Arrow(10, "answer", ((1128, 561), (1264, 561)), (1156, 550)),
    Arrow(11, "lines, pictures", ((1382, 530), (1382, 462)), (1390, 500)),
    Arrow(12, "lines", ((1382, 400), (1382, 332)), (1390, 371)),
    Arrow(13, "snapshot", ((1500, 561), (1511, 561), (1511, 171), (1500, 171)), (1404, 240)),
    Arrow(14, "frames", ((158, 772), (158, 800)), (166, 791)),
    Arrow(15, "markers", ((40, 741), (10, 741), (10, 361), (40, 361)), (24, 645)),
    Arrow(16, "settings", ((584, 710), (584, 624)), (592, 645)),
    Arrow(17, "descriptor", ((1010, 710), (1010, 592)), (1018, 645)),
    Arrow(18, "labelled epochs", ((1264, 741), (1196, 741), (1196, 831), (1128, 831)), (1204, 792)),
    Arrow(19, "adapter", ((892, 831), (856, 831), (856, 447), (892, 447)), (770, 645)),
    Arrow(
        20, "outcomes", ((466, 575), (430, 575), (430, 600), (1382, 600), (1382, 592)), (712, 592)
    ),
)
"""An arrow without a word is another way of the same thing."""


def drawing() -> str:
    """Return the picture as SVG."""
    width, height = SIZE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        _text(20, 34, "The way of data", size=24, weight="bold"),
        *(part for frame in FRAMES for part in _frame(*frame)),
        *(part for arrow in ARROWS for part in _line(arrow)),
        *(part for room in ROOMS for part in _room(room)),
        *(part for arrow in ARROWS if arrow.carries for part in _label(arrow)),
        *_legend(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _text(x: int, y: int, text: str, *, size: int = 14, **style: str) -> str:
    given = {"fill": "#222", "font-weight": style.pop("weight", "normal"), **style}
    words = " ".join(f'{name}="{value}"' for name, value in given.items())
    return f'<text x="{x}" y="{y}" font-size="{size}" {words}>{escape(text)}</text>'


def _frame(title: str, x: int, y: int, width: int, height: int) -> tuple[str, str]:
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="#fafafa" '
        'stroke="#999" stroke-dasharray="6 5"/>',
        _text(x + 10, y + 22, title, size=13, fill="#555"),
    )


def _room(room: Room) -> tuple[str, str, str]:
    width, height = ROOM
    return (
        f'<rect x="{room.x}" y="{room.y}" width="{width}" height="{height}" rx="6" '
        f'fill="{FILLS[room.package]}" stroke="#444"/>',
        _text(room.x + 12, room.y + 26, room.title, size=16, weight="bold"),
        _text(room.x + 12, room.y + 47, room.path, size=13, fill="#444"),
    )


def _line(arrow: Arrow) -> tuple[str, str]:
    """Draw the way and its head; not an SVG marker, which some viewers never turn."""
    way = " ".join(f"{x},{y}" for x, y in arrow.points)
    (x0, y0), (x, y) = arrow.points[-2:]
    dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
    wings = [(x - 11 * dx + k * dy, y - 11 * dy + k * dx) for k in (5, -5)]
    head = " ".join(f"{a},{b}" for a, b in ((x, y), *wings))
    return (
        f'<polyline points="{way}" fill="none" stroke="#333" stroke-width="1.8"/>',
        f'<polygon points="{head}" fill="#333"/>',
    )


def _label(arrow: Arrow) -> tuple[str, ...]:
    x, y = arrow.at
    return (
        f'<rect x="{x + 20}" y="{y - 14}" width="{8 + 7 * len(arrow.carries)}" height="18" '
        'fill="#fafafa" fill-opacity="0.85"/>',
        f'<circle cx="{x + 10}" cy="{y - 5}" r="10" fill="#333"/>',
        _text(x + 10, y, str(arrow.number), size=12, fill="#fff", **{"text-anchor": "middle"}),
        _text(x + 25, y, arrow.carries, size=13),
    )


def _legend() -> list[str]:
    parts = []
    for k, name in enumerate(("devices", "pipeline", "models", "app", "configs")):
        x = 900 + 124 * k
        parts += [
            f'<rect x="{x}" y="18" width="18" height="18" rx="3" fill="{FILLS[name]}" '
            'stroke="#444"/>',
            _text(x + 25, 33, name),
        ]
    return parts


def main() -> None:
    """Write the picture."""
    TARGET.write_text(drawing(), encoding="utf-8")


if __name__ == "__main__":
    main()
