"""How torch computes while a system decodes: one epoch, one vector, one picture.

Owns those settings. They are the whole process's, so a library must give them back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def make_repeatable(threads: int) -> None:
    """Set this process for good: for one that does nothing but decode."""
    # The order of a sum depends on how many threads share it: one count, one picture.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    # As `use_deterministic_algorithms(True, warn_only=True)`, which imports all of Inductor.
    torch.set_deterministic_debug_mode("warn")
    torch.set_grad_enabled(False)


@contextmanager
def repeatable(threads: int) -> Iterator[None]:
    """Within, torch computes as in a session; afterwards as it did before."""
    with given_back():
        make_repeatable(threads)
        yield


@contextmanager
def given_back() -> Iterator[None]:
    """Afterwards torch computes as it did before, whatever was set within."""
    before = os.environ.get("OMP_NUM_THREADS")
    n_threads, has_grad = torch.get_num_threads(), torch.is_grad_enabled()
    mode = torch.get_deterministic_debug_mode()
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
        torch.set_grad_enabled(has_grad)
        torch.set_deterministic_debug_mode(mode)
        if before is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = before
