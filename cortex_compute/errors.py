"""Every error that Cortex raises on purpose.

The message says where, what, and what to do.  The command line prints it without a traceback
and exits with 2.  This module imports nothing, so that every package may use it.
"""

from __future__ import annotations


class CortexError(Exception):
    """The base of all errors that Cortex raises on purpose."""


class SpecError(CortexError, ValueError):
    """A description (a dict or a YAML file) is wrong.  ``problems`` holds one entry per mistake."""

    def __init__(self, message: str, problems: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class ShapeError(CortexError, ValueError):
    """Shapes do not fit together, or an axis does not exist."""


class PlaceError(ShapeError, IndexError):
    """An index lies outside the axis that it counts along."""


class DTypeError(CortexError, TypeError):
    """Data types do not fit together."""


class GradientError(CortexError, RuntimeError):
    """A gradient cannot be computed: nothing was recorded, or what was recorded is gone."""


class NotFiniteError(CortexError, RuntimeError):
    """A NaN appeared where someone watched for it."""


class DataError(CortexError, ValueError):
    """A data set or an array of the user's is missing, damaged or out of range."""


class ArgumentError(CortexError, ValueError):
    """An argument is none of the values that are possible."""


class BackendError(CortexError, RuntimeError):
    """A backend is missing, or cannot do what was asked."""


class OutOfMemoryError(BackendError):
    """A device has too little memory: ``needed`` bytes at once, ``free`` and ``total`` of ``device``."""

    def __init__(self, device: str, needed: int, free: int, total: int) -> None:
        self.device, self.needed, self.free, self.total = device, needed, free, total
        super().__init__(
            f"{device} is out of memory: {needed / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB of "
            f"{total / 1e6:.0f} MB are free"
        )


class AskedForError(BackendError):
    """Something that the environment asks for by name cannot be had: nothing else may stand in for it."""


class CheckpointError(CortexError, ValueError):
    """A .cortex file is damaged, cut short, or belongs to another network."""
