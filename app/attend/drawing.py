"""Draws for a session of looks, in a process of its own: the only one with torch.

Owns that process, its pipe and its end. What is shown while a look lasts is the newest alone: what
became old while another picture was drawn is left out. A crash there costs pictures and no samples.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

import numpy as np

from app.runtime.processes import end_process, start_process
from configs import SessionConfig
from models.api import SamplerSpec
from pipeline.errors import PhospheneError
from pipeline.values import Embedding, Float32, GeneratedImage, Uint8

ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
NICENESS = 3
"""Of this process against ours: samples and flips go before pictures."""
START_TIMEOUT = 300.0
"""Longest time until the sampler is loaded, s."""
TIMEOUT = 60.0
"""Longest time that one picture is waited for, s."""


class DrawingError(PhospheneError):
    """The drawing process gives no picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A picture, how much it is sure of, and when it came back, `time.monotonic`, s."""

    number: int
    pixels: Uint8
    confidence: float
    at: float


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    number: int
    vector: Float32
    confidence: float
    seed: int


def main(connection: Connection, config: SessionConfig) -> None:
    """Load the sampler, then draw until the pipe closes."""
    from models.systems import load_sampler

    try:
        sampler = load_sampler(config.decoder)
    except PhospheneError as error:
        connection.send(str(error))
        return
    connection.send(sampler.spec)
    while True:
        try:
            order: _Order = connection.recv()
        except EOFError:
            return
        embedding = Embedding(order.vector, order.number, 0.0, confidence=order.confidence)
        try:
            pixels = np.array(sampler.sample(embedding, seed=order.seed).pixels)
        except PhospheneError as error:
            connection.send((order.number, str(error)))
        else:
            connection.send((order.number, pixels))


class Drawing:
    """A `Sampler` whose work is done elsewhere.

    Parameters
    ----------
    config : SessionConfig

    Raises
    ------
    DrawingError
        The sampler cannot be loaded.
    """

    def __init__(self, config: SessionConfig) -> None:
        self._process: SpawnProcess
        self._connection: Connection
        self._process, self._connection = start_process(
            main, config, name="drawing", niceness=NICENESS, environment=ENVIRONMENT
        )
        said = self._first_word()
        if not isinstance(said, SamplerSpec):
            self._connection.close()
            end_process(self._process)
            raise DrawingError(str(said))
        self.spec = said
        # Guards all below; notified when a picture comes back or none ever will.
        self._back = threading.Condition()
        self._n_sent = 0
        self._under_way: dict[int, _Order] = {}
        self._waiting: _Order | None = None
        self._wanted: set[int] = set()
        self._found: dict[int, Uint8 | str] = {}
        self._is_over = False
        self.newest: Drawn | None = None
        """The newest picture that was only to be shown."""
        self._thread = threading.Thread(target=self._receive, name="drawing", daemon=True)
        self._thread.start()

    def show(self, embedding: Embedding, *, seed: int) -> None:
        """Draw this next, in place of whatever waits; `newest` will be it. Returns at once."""
        with self._back:
            order = self._order(embedding, seed)
            if self._under_way:
                self._waiting = order
            else:
                self._send(order)

    def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
        """Draw, and wait for it.

        Raises
        ------
        DrawingError
            The process is gone, or it takes too long.
        """
        with self._back:
            order = self._order(embedding, seed)
            self._wanted.add(order.number)
            self._waiting = None
            self._send(order)
            self._back.wait_for(lambda: order.number in self._found or self._is_over, TIMEOUT)
            pixels = self._found.pop(order.number, "The drawing process gave no picture.")
        if isinstance(pixels, str):
            raise DrawingError(pixels)
        return GeneratedImage(pixels, seed, embedding.index, embedding.t_onset)

    def close(self) -> None:
        """End the process; safe to call twice."""
        with self._back:
            self._is_over = True
            self._back.notify_all()
        end_process(self._process)
        self._thread.join()
        self._connection.close()

    def _first_word(self) -> object:
        try:
            if self._connection.poll(START_TIMEOUT):
                return self._connection.recv()
        except (EOFError, OSError):
            pass
        return "The drawing process ended before its sampler was loaded."

    def _order(self, embedding: Embedding, seed: int) -> _Order:
        self._n_sent += 1
        return _Order(
            self._n_sent, np.array(embedding.vector), float(embedding.confidence or 0.0), seed
        )

    def _send(self, order: _Order) -> None:
        if self._is_over:
            return
        self._under_way[order.number] = order
        try:
            self._connection.send(order)
        except OSError:
            self._is_over = True

    def _receive(self) -> None:
        while True:
            try:
                number, pixels = self._connection.recv()
            except (EOFError, OSError):
                break
            with self._back:
                order = self._under_way.pop(number)
                if number in self._wanted:
                    self._wanted.discard(number)
                    self._found[number] = pixels
                if not isinstance(pixels, str):
                    self.newest = Drawn(number, pixels, order.confidence, time.monotonic())
                if self._waiting is not None and not self._under_way:
                    following, self._waiting = self._waiting, None
                    self._send(following)
                self._back.notify_all()
        with self._back:
            self._is_over = True
            self._back.notify_all()
