"""`python -m devices.emulated`: an emulated Cyton until Ctrl-C, for any program that reads one.

In a second terminal: `phosphene device cyton --serial-port PORT`, or with `--impedance`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.emulated.cyton import N_CHANNELS, SFREQ, EmulatedCyton
from pipeline.values import Float64


def alpha(numbers: NDArray[np.int64]) -> Float64:
    """10 Hz of 20 microvolts and white noise of 5, the same for the same numbers."""
    wave = 20.0 * np.sin(2 * np.pi * 10.0 * numbers / SFREQ)
    noise = np.array([np.random.default_rng(int(n)).normal(0, 5, N_CHANNELS) for n in numbers])
    return np.asarray(wave[:, None] + noise.reshape(len(numbers), N_CHANNELS))


def main(argv: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C or the end of `--duration`."""
    parser = argparse.ArgumentParser(prog="python -m devices.emulated", description=__doc__)
    parser.add_argument("--link", type=Path, metavar="PATH", help="symbolic link to the port")
    parser.add_argument("--loss", type=float, default=0.0, metavar="P", help="part that is lost")
    parser.add_argument("--duration", type=float, metavar="S")
    args = parser.parse_args(argv)

    def loses(number: int) -> bool:
        return bool(np.random.default_rng((1, number)).random() < args.loss)

    with EmulatedCyton(alpha, link=args.link, loses=loses) as cyton:
        sys.stdout.write(f"Cyton at {cyton.port}; Ctrl-C ends it.\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait(args.duration)
        sys.stdout.write(f"{cyton.n_sent} packets sent, {cyton.n_lost} lost.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
