"""Builds engines: the process that a session has them built in.

Owns the request that reaches that process, and the way from a system to what an engine is built of:
one short picture of noise. Knows nothing of sessions.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs import DecoderConfig
from models.sampling.backends.base import Target
from pipeline.errors import PhospheneError

SIGN_EVERY = 1.0
"""How often it says how much it has computed, s: who waits for it can tell work from a hang."""


def main() -> int:
    """Read a request, a line of standard input; build; say each step as a line of JSON.

    Ends where standard input does: whoever asked is gone.
    """
    # Libraries print what they like: it must not be taken for ours.
    out, sys.stdout = sys.stdout, sys.stderr

    writing = threading.Lock()

    def tell(**word: str | float) -> None:
        with writing:
            out.write(json.dumps(word) + "\n")
            out.flush()

    def live() -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody listens any more
            while True:
                time.sleep(SIGN_EVERY)
                tell(cpu=time.process_time())

    if sys.platform != "win32":
        os.nice(10)  # beside a session that goes on
    try:
        request = json.loads(sys.stdin.readline())
        threading.Thread(target=_end_with_input, daemon=True).start()
        threading.Thread(target=live, daemon=True).start()
        _build(request, lambda line: tell(say=line))
    except PhospheneError as error:
        tell(refused=str(error))
    return 0


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)  # in the middle of a compiler


def _build(request: Mapping[str, Any], say: Any) -> None:
    from models.sampling.backends.base import Builds
    from models.sampling.backends.cache import EngineCache
    from models.sampling.backends.choice import BACKENDS
    from models.sampling.backends.engines import build, key_of
    from models.systems import drawing_of, load_plain, parts_of, sampler_options

    config = DecoderConfig.model_validate(request["config"])
    backend, target = BACKENDS[request["backend"]], Target(**request["target"])
    if not isinstance(backend, Builds):
        return
    say("loading the networks")
    system = load_plain(config)
    parts = parts_of(system.sampler)
    key = key_of(parts, backend=backend, target=target, options=sampler_options(system.sampler))
    draw = drawing_of(system)
    say("drawing with eager")
    draw()
    build(
        parts,
        backend=backend,
        target=target,
        key=key,
        cache=EngineCache(Path(request["cache"])),
        draw=draw,
        say=say,
    )


if __name__ == "__main__":
    sys.exit(main())
