"""The errors of the application.

PhospheneError
└── AppError
    ├── FolderError      a session folder that cannot be used
    └── OutputError      another program that cannot be sent to, or a port that is taken
"""

from pipeline.errors import PhospheneError


class AppError(PhospheneError):
    """Base of the application's errors; one sentence for the user."""


class FolderError(AppError):
    """A session folder is in use, holds a session already, or cannot be written."""


class OutputError(AppError):
    """Another program cannot be sent to, or a port that it would use is taken."""
