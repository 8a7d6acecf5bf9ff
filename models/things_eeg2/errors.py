"""The one error of the THINGS-EEG2 package."""

from pipeline.errors import PhospheneError


class ThingsError(PhospheneError):
    """A file or an array of THINGS-EEG2 is not what it should be."""
