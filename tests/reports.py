"""Nobody outside is told of a run: what libraries report of their use is caught, and fails it."""

from __future__ import annotations

import os
import socketserver
import threading

import pytest


class Reports:
    """A plugin of the whole run: a proxy that forwards nothing.

    What libraries send their reports with reads its proxy from the environment, which every process
    of the run has from here.
    """

    def __init__(self) -> None:
        self._asked: set[str] = set()
        asked = self._asked

        class Door(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                asked.add(ascii(self.request.recv(200).split(b"\r\n")[0]))

        self._door = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Door)
        self._door.daemon_threads = True
        threading.Thread(target=self._door.serve_forever, daemon=True).start()
        for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
            os.environ[name] = f"http://127.0.0.1:{self._door.server_address[1]}"
        for name in ("no_proxy", "NO_PROXY"):
            os.environ[name] = "127.0.0.1,localhost,::1"

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run where anybody was asked for."""
        self._door.shutdown()
        self._door.server_close()
        if self._asked:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say who was."""
        for line in sorted(self._asked):
            terminalreporter.write_line(f"FAILED: a host outside was asked for: {line}", red=True)
