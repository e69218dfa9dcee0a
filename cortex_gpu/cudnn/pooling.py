"""Maximum and mean over windows, and their gradients."""

from __future__ import annotations

from collections.abc import Callable

from cortex_compute.frozen import frozen
from cortex_compute.types import DType
from cortex_gpu.cudnn import constants as c
from cortex_gpu.cudnn.descriptors import Descriptor, Sizes, factors, image, pooling
from cortex_gpu.cudnn.library import Library


@frozen
class Windows:
    """Sizes x (N, C, *S) and y (N, C, *S'), two or three spatial axes; ``mode`` is one of `POOLING`.

    The padding is that of both sides, and less than the size.  Of equal elements of a window one gets the
    gradient of the maximum, in equal runs the same one.
    """

    mode: str
    x: Sizes
    y: Sizes
    size: Sizes
    padding: Sizes
    stride: Sizes
    dtype: DType
    channels_last: bool = True

    def described(self, library: Library) -> tuple[Descriptor, Descriptor, Descriptor]:
        """The windows, x and y."""
        how = pooling(library, c.POOLING[self.mode], self.size, self.padding, self.stride)
        x, y = (image(library, dims, self.dtype, self.channels_last) for dims in (self.x, self.y))
        return how, x, y


def forward(library: Library, windows: Windows, x: int, y: int) -> Callable[[], None]:
    """A call that computes y; all arrays are addresses."""
    how, of_x, of_y = windows.described(library)
    alpha, beta = factors(windows.dtype)
    return library.launcher("PoolingForward", how, alpha, of_x, x, beta, of_y, y)


def backward(library: Library, windows: Windows, y: int, dy: int, x: int, dx: int) -> Callable[[], None]:
    """A call that computes dx.  The mean does not look at the numbers of x and y."""
    how, of_x, of_y = windows.described(library)
    alpha, beta = factors(windows.dtype)
    arrays = alpha, of_y, y, of_y, dy, of_x, x, beta, of_x, dx
    return library.launcher("PoolingBackward", how, *arrays)
