"""What a loaded system sets for its whole process, given back after a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def restored_torch_settings() -> Iterator[None]:
    """Restore gradients, determinism and threads at the end."""
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_grad_enabled(True)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)
