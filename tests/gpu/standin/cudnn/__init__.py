"""A library that stands for cuDNN: it checks each call as cuDNN would, and computes with NumPy.

Work is deferred into the stream of the handle, as the stand-in for CuPy defers its own.
"""

from __future__ import annotations

from typing import Any

from cortex_gpu.cudnn.library import Library
from tests.gpu.standin.cudnn.convolution import Convolutions
from tests.gpu.standin.cudnn.layers import Layers
from tests.gpu.standin.cudnn.recurrence import Recurrences


class Cudnn(Convolutions, Layers, Recurrences):
    """Has the functions of libcudnn, as `ctypes.CDLL` does."""


def library(**facts: Any) -> Library:
    """The package's own library object over a stand-in with these facts."""
    return Library(Cudnn(**facts), "stand-in")
