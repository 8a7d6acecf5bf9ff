"""`python -m devices.virtual`: a virtual headset for whoever spawns it.

Owns nothing but the process's edge: options in, one JSON line out once the stream can be found
(`{"ready": true, "source_id": ...}`), one more whenever it found the stimulus markers
(`{"following": ...}`), exit code 1 and one line on standard error when it cannot
start. It ends at SIGINT, SIGTERM, SIGHUP, and with its standard input: the program that started it
holds the other end.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from typing import Any

from devices.lifeline import follow_stdin


def main(argv: list[str] | None = None) -> int:
    """Run a virtual headset until stopped; returns the exit code."""
    stop = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if name in signal.Signals.__members__:
            signal.signal(signal.Signals[name], lambda *_: stop.set())
    follow_stdin(stop)
    from devices.virtual.options import add_options, settings_from
    from pipeline.errors import PhospheneError

    parser = argparse.ArgumentParser(prog="python -m devices.virtual", description=__doc__)
    add_options(parser)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="virtual headset: %(message)s")
    try:
        settings = settings_from(args)
        from devices.virtual.service import description, serve

        def say(what: dict[str, Any]) -> None:
            sys.stdout.write(json.dumps(what) + "\n")
            sys.stdout.flush()

        serve(
            settings,
            stop,
            on_ready=lambda: say(description(settings)),
            on_follow=lambda: say({"following": settings.markers_source_id}),
        )
    except PhospheneError as error:
        sys.stderr.write(f"phosphene: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
