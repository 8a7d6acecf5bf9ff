"""A headless Chromium that tests ask what a page shows, over its own debugging pipe."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium_here() -> str | None:
    """Return the browser's program, None where there is none, or no pipe by number (Windows)."""
    return None if os.name == "nt" else next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One page of a browser of its own, ended by `close`.

    Parameters
    ----------
    program : str
    url : str
    profile : Path
        A new folder for what it writes.
    """

    def __init__(self, program: str, url: str, profile: Path) -> None:
        theirs, self._to = os.pipe()
        self._from, back = os.pipe()
        options = ["--headless", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
        # What it asks its maker for is no part of a test.
        options += ["--no-proxy-server", "--disable-background-networking"]
        options += ["--disable-component-update", "--disable-sync"]
        if os.geteuid() == 0:  # Chromium's sandbox does not start for root
            options.append("--no-sandbox")
        # It speaks by the descriptors 3 and 4.
        self._process = subprocess.Popen(
            [
                *("/bin/sh", "-c", f'exec "$@" 3</dev/fd/{theirs} 4>/dev/fd/{back}', "sh", program),
                *(*options, f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=(theirs, back),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(back)
        self._answers = os.fdopen(self._from, "rb")
        self._numbers = itertools.count(1)
        self._page: dict[str, str] = {}
        target = self._ask("Target.createTarget", url=url)["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._page = {"sessionId": attached["sessionId"]}

    def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression is on the page."""
        found = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def close(self) -> None:
        """End the browser."""
        os.close(self._to)
        self._process.terminate()
        self._process.wait(30)
        self._answers.close()

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params, **self._page}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._line())
            if answer.get("id") == number:
                return dict(answer["result"])

    def _line(self) -> bytes:
        found = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            if not byte:
                raise ConnectionError("the browser has ended")
            found += byte
        return bytes(found)
