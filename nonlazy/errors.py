"""The library's errors and warnings: each message names what is wrong, what was received and what is allowed."""

from __future__ import annotations


class NonlazyError(Exception):
    """Base of every error the library raises on purpose."""


class InputError(NonlazyError, ValueError):
    """An argument, a configuration entry or a file's content that cannot be used."""


class FileError(NonlazyError, OSError):
    """A file or folder that cannot be read or written."""


class CheckpointError(NonlazyError):
    """A checkpoint that is damaged or belongs to another run."""


class ClusterError(NonlazyError):
    """Processes that compute a sweep cannot be reached, or were lost; what they had finished is kept."""


class ConvergenceError(NonlazyError):
    """A solver that stopped short of its tolerance; there is no result."""


class DataWarning(UserWarning):
    """Data that can be used, with a consequence the user should know."""


class SamplingWarning(UserWarning):
    """Draws that should not be trusted as they are; the result is returned all the same."""
