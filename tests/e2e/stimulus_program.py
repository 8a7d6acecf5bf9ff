"""`python -m tests.e2e.stimulus_program raster|gl`: a plan in a real stimulus window.

Says in one line of JSON what was stamped, how the screen kept time and whether all was shown.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import numpy as np
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from app.presentation import Timing, plan_presentation
from app.views.stimuli.window import StimulusWindow
from configs import StimuliConfig
from tests.app.plan_player import Player

TIMING = Timing(fixation=10, stimulus=30, blank=20)
LABELS = ("red", "blue")
LONGEST_S = 110.0


def main(surface: str) -> int:
    """Play four pictures; end with the plan or at Esc."""
    from pylsl import local_clock

    app = QApplication(["stimuli"])
    colours = {"red": (200, 0, 0), "blue": (0, 0, 200)}
    window = StimulusWindow(
        lambda label: np.full((8, 8, 3), colours[label], dtype=np.uint8),
        surface="gl" if surface == "gl" else "raster",
    )
    window.use(StimuliConfig(photodiode="top-left", photodiode_px=64))
    window.show()
    player = Player(plan_presentation(LABELS, repetitions=2, timing=TIMING))
    stamps: list[tuple[str, float]] = []

    def ended(complete: bool) -> None:
        said = {
            "complete": complete,
            "stamps": stamps,
            "planned": player.plan.labels,
            "figures": asdict(window.figures),
        }
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        app.quit()

    window.ended.connect(ended)
    window.play(player, clock=local_clock, on_marker=lambda label, at: stamps.append((label, at)))
    QTimer.singleShot(round(1000 * LONGEST_S), app.quit)
    return app.exec()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
