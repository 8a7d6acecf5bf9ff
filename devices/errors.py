"""The errors of the devices, as a tree.

Owns every exception that `devices` raises; knows nothing of who catches them.

    PhospheneError
    └── DeviceError
        ├── SourceError               a stream that cannot be opened, or cannot go on
        │   ├── StreamNotFoundError   nothing in reach fits
        │   ├── AmbiguousStreamError  more than one stream fits
        │   └── StreamChangedError    a stream came back as something else
        ├── OutletError               what is to be sent does not fit the outlet
        ├── BoardError                a board that cannot be bridged
        ├── FileError                 a recording cannot be read: unknown, empty, truncated
        └── RecordingError            a recording cannot be written
            └── FileTakenError        its file exists already

A message names what was given, what was expected and what to do, in one line.
"""

from pipeline.errors import PhospheneError


class DeviceError(PhospheneError):
    """Base of the errors of sources, outlets, boards and files."""


class SourceError(DeviceError):
    """A stream cannot be opened, or cannot go on."""


class StreamNotFoundError(SourceError):
    """No stream in reach fits what was asked for."""


class AmbiguousStreamError(SourceError):
    """More than one stream in reach fits what was asked for."""


class StreamChangedError(SourceError):
    """A stream came back with other labels, units, rate or format."""


class OutletError(DeviceError):
    """What is to be sent does not fit the outlet, or the outlet is closed."""


class BoardError(DeviceError):
    """A board is unknown, lacks a parameter, or cannot be reached."""


class FileError(DeviceError):
    """A recording cannot be read: unknown, empty, truncated or damaged."""


class RecordingError(DeviceError):
    """A recording cannot be written."""


class FileTakenError(RecordingError):
    """A recording's file exists already."""
