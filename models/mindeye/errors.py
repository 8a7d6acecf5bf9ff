"""The one error of MindEye."""

from pipeline.errors import PhospheneError


class MindEyeError(PhospheneError):
    """Settings, weights or data of MindEye cannot be used as asked."""
