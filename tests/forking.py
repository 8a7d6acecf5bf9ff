"""Decoder processes of the tests: forked from one that has imported torch, instead of spawned.

A spawned decoder computes for some eight seconds before it can do anything, all of it imports, and
the suite starts a hundred. What it runs, how it is watched, told and ended stays the product's own.
`spawned` gives a test the product's way of starting it, too.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from app.runtime import processes

PRELOAD = ["torch", "scipy.signal", "diffusers.models.autoencoders", "diffusers.models.unets"]
"""What takes a decoder most of its start. Installed packages only: the server of Python 3.11 knows
no other path."""
_ENTER = processes._enter


def _enter(environment: Mapping[str, str], *args: Any) -> None:
    # The server's environment is that of its own start.
    os.environ.clear()
    os.environ.update(environment)
    _ENTER(*args)


@pytest.fixture(autouse=True)
def forked_decoders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "spawned" in request.fixturenames or not hasattr(os, "fork"):
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)

    def process(*, target: Callable[..., object], args: tuple[object, ...], **options: Any) -> Any:
        enter = partial(_enter, dict(os.environ))
        return context.Process(target=enter, args=args, **options)

    own = SimpleNamespace(Pipe=context.Pipe, Process=process)
    monkeypatch.setattr(
        processes,
        "multiprocessing",
        SimpleNamespace(get_context=lambda _: own, parent_process=multiprocessing.parent_process),
    )


@pytest.fixture
def spawned() -> None:
    """The decoder's process is spawned, as in the product."""
