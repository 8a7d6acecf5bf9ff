"""The errors of training and of the data that it reads."""

from pipeline.errors import PhospheneError


class TrainingError(PhospheneError):
    """A stage cannot be trained as asked; one sentence says why."""


class DatasetError(PhospheneError):
    """A data set is missing, is not what it says, or cannot be split as asked."""
