"""The error of training."""

from pipeline.errors import PhospheneError


class TrainingError(PhospheneError):
    """A stage cannot be trained as asked; one sentence says why."""
