"""A session of the virtual headset in its window at the scale of QT_SCALE_FACTOR, as a picture."""

from __future__ import annotations

import sys
from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from app.runtime.factory import RuntimeFactory
from app.views.window.main_window import MainWindow
from configs import load_preset
from tests.app.screenshots import is_sure, shoot

if __name__ == "__main__":
    app = QApplication(sys.argv[:1])
    window = MainWindow(RuntimeFactory(out=Path(sys.argv[1])), load_preset("demo"))
    window.show()
    window.start_demo()

    def look() -> None:
        """Take the picture once there is enough to see."""
        if is_sure(window.session.history.pictures):
            window.signals.open(1)
            window.tick()
            window._show_texts()
            shoot(window, "hidpi")
            app.quit()

    timer = QTimer(app)
    timer.timeout.connect(look)
    timer.start(200)
    app.exec()
    window.end()
