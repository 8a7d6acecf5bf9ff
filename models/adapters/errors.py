"""What adapters raise."""

from pipeline.errors import PhospheneError


class AdapterError(PhospheneError):
    """An adapter cannot be fitted, loaded or applied; the message is one sentence."""
