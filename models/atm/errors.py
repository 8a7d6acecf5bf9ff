"""The one error of the ATM family."""

from pipeline.errors import PhospheneError


class AtmError(PhospheneError):
    """A network, its weights or its data cannot be used as asked."""
