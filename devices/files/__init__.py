"""Readers of recorded EEG, one module a family of formats; `open_recording` chooses.

`readers` is the table of formats, `formats` ours.
"""

from devices.files.base import Block, FileEvent, Recording
from devices.files.opening import open_recording

__all__ = ["Block", "FileEvent", "Recording", "open_recording"]
