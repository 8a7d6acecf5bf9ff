"""The one error of the multimodal system."""

from pipeline.errors import PhospheneError


class MultimodalError(PhospheneError):
    """Settings, weights or pictures of the multimodal system cannot be used as asked."""
