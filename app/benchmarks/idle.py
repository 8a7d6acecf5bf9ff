"""A decoder that does nothing, for benchmarks and tests of what is around it.

A file of its own: the process that runs it imports this and little else (0.3 CPU s, not 1.2), and
so it is back as soon after being killed as the machine's load lets it.
"""

from __future__ import annotations

import time
from multiprocessing.connection import Connection

import numpy as np

from app.runtime.messages import Answer, Load, Loaded, Ready
from configs import SessionConfig
from models.api import EncoderSpec, InputSpec
from pipeline.gallery import SPACE, load_gallery


def idle_decoder(connection: Connection, _: SessionConfig) -> None:
    """Answer every job with a grey picture."""
    n_features = load_gallery().embeddings.shape[1]
    spec = EncoderSpec("idle", InputSpec(250.0), -0.2, 0.8, None, None, n_features, space=SPACE)
    connection.send(Ready(spec, "0" * 64, "cpu", {}))
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        if job is None:
            return
        if isinstance(job, Load):
            connection.send(Loaded(job.folder, "0" * 64, spec))
            continue
        now = time.monotonic()
        pixels = np.full((8, 8, 3), 128, np.uint8)
        connection.send(Answer(job.index, np.ones(n_features, np.float32), pixels, now, now, now))
