"""The errors of DreamDiffusion's data and training."""

from pipeline.errors import PhospheneError


class DatasetError(PhospheneError):
    """A data set is missing, is not what it says, or cannot be split as asked."""
