"""Training of the published systems: one loop, one checkpoint format, any number of processes."""

from models.training.engine import make_engine
from models.training.loop import LoopConfig, Task, train

__all__ = ["LoopConfig", "Task", "make_engine", "train"]
