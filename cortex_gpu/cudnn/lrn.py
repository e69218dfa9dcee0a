"""Local response normalisation across channels (Krizhevsky, Sutskever and Hinton, 2012)."""

from __future__ import annotations

from collections.abc import Callable

from cortex_compute.frozen import frozen
from cortex_compute.types import DType
from cortex_gpu.cudnn import constants as c
from cortex_gpu.cudnn.descriptors import Descriptor, Sizes, factors, image, lrn
from cortex_gpu.cudnn.library import Library


@frozen
class Response:
    """y = x / (k + alpha / size sum(x^2))^beta, the sum over ``size`` (1 to 16) channels around each.

    ``dims``: the sizes (N, C, *S) of x and y.  k is at least 1e-5, beta at least 0.01.
    """

    dims: Sizes
    size: int
    alpha: float
    beta: float
    k: float
    dtype: DType
    channels_last: bool = True

    def described(self, library: Library) -> tuple[Descriptor, Descriptor]:
        array = image(library, self.dims, self.dtype, self.channels_last)
        return lrn(library, self.size, self.alpha, self.beta, self.k), array


def forward(library: Library, response: Response, x: int, y: int) -> Callable[[], None]:
    """A call that computes y."""
    (how, array), (one, zero) = response.described(library), factors(response.dtype)
    return library.launcher(
        "LRNCrossChannelForward", how, c.LRN_CROSS_CHANNEL_DIM1, one, array, x, zero, array, y
    )


def backward(library: Library, response: Response, y: int, dy: int, x: int, dx: int) -> Callable[[], None]:
    """A call that computes dx."""
    (how, array), (one, zero) = response.described(library), factors(response.dtype)
    arrays = one, array, y, array, dy, array, x, zero, array, dx
    return library.launcher("LRNCrossChannelBackward", how, c.LRN_CROSS_CHANNEL_DIM1, *arrays)
