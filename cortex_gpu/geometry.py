"""Where the windows of a convolution look, as C with literal sizes.

Coordinates are called ``y1``, ``y2``, ... in the image, ``o1``, ... among the windows, ``t1``, ... inside the
kernel; ``image`` counts the images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cortex_compute.frozen import frozen
from cortex_compute.primitives.convolution import Convolution
from cortex_compute.types import DType, TensorType

Sizes = tuple[int, ...]


@frozen
class Geometry:
    """The numbers of a convolution: x (N, *S, C) with a kernel (*K, C/groups, O) to y (N, *S', O)."""

    dtype: DType
    images: int
    sizes: Sizes  # S
    counts: Sizes  # S', windows along each axis
    kernel: Sizes  # K
    channels: int
    filters: int
    groups: int
    stride: Sizes
    before: Sizes
    dilation: Sizes

    @classmethod
    def of(cls, p: Convolution, x: TensorType, w: TensorType) -> Geometry:
        y = p.product(x, w)
        before = tuple(first for first, _ in p.padding)
        return cls(x.dtype, x.shape[0], x.shape[1:-1], y.shape[1:-1], w.shape[:-2], x.shape[-1], y.shape[-1],
                   p.groups, p.stride, before, p.dilation)  # fmt: skip

    @property
    def inner(self) -> int:
        """Channels of a group."""
        return self.channels // self.groups

    @property
    def outer(self) -> int:
        """Filters of a group."""
        return self.filters // self.groups

    @property
    def taps(self) -> int:
        """Places in the kernel."""
        return math.prod(self.kernel)

    @property
    def windows(self) -> int:
        return self.images * math.prod(self.counts)

    @property
    def pixels(self) -> int:
        return self.images * math.prod(self.sizes)

    @property
    def channelwise(self) -> bool:
        """Whether each channel has kernels of its own."""
        return self.inner == 1 < self.groups

    @property
    def plain(self) -> bool:
        """Whether window number i is pixel number i, and nothing else."""
        return self.taps == max(self.stride) == 1 and self.counts == self.sizes

    @property
    def integer(self) -> str:
        """The C type of an offset into x or y."""
        largest = max(self.pixels * self.channels, self.windows * self.filters)
        return "int" if largest < 1 << 31 else "i64"

    # C.  `split` makes coordinates of a number; the others find places and offsets from coordinates.

    def split_window(self, number: str) -> str:
        return split(number, (self.images, *self.counts), ["image", *self._names("o")])

    def split_pixel(self, number: str) -> str:
        return split(number, (self.images, *self.sizes), ["image", *self._names("y")])

    def split_tap(self, number: str, last: int, name: str) -> str:
        """The place in the kernel, and the number ``name``, below ``last``, of a channel or filter there."""
        return split(number, (*self.kernel, last), [*self._names("t"), name])

    def seen(self) -> tuple[str, str]:
        """C that finds the pixel at a place of a window, and the condition that it is one of the image."""
        lines, inside = [], []
        for k, (n, count, size) in enumerate(zip(self.sizes, self.counts, self.kernel), 1):
            s, before, d = self.stride[k - 1], self.before[k - 1], self.dilation[k - 1]
            lines.append(f"const int y{k} = (int)o{k} * {s} + (int)t{k} * {d} - {before};")
            if before or (count - 1) * s + (size - 1) * d >= n:
                inside.append(f"(u32)y{k} < {n}u")
        return " ".join(lines), " && ".join(inside) or "true"

    def seen_by(self) -> tuple[str, str]:
        """C that finds the window that has a pixel at a place, and the condition that there is one."""
        lines, there = [], []
        for k, count in enumerate(self.counts, 1):
            s, before, d = self.stride[k - 1], self.before[k - 1], self.dilation[k - 1]
            lines.append(f"const int q{k} = (int)y{k} + {before} - (int)t{k} * {d}, o{k} = q{k} / {s};")
            there.append(f"(u32)q{k} < {count * s}u" + (f" && q{k} % {s} == 0" if s > 1 else ""))
        return " ".join(lines), " && ".join(there)

    def in_x(self, channel: str) -> str:
        """The offset in x of a pixel's channel."""
        return self._offset("y", self.sizes, self.channels, channel)

    def in_y(self, filter: str) -> str:
        """The offset in y, or its gradient, of a window's filter."""
        return self._offset("o", self.counts, self.filters, filter)

    def _offset(self, name: str, sizes: Sizes, last: int, place: str) -> str:
        text = f"({self.integer})image"
        for coordinate, n in zip(self._names(name), sizes):
            text = f"({text} * {n} + (int){coordinate})"
        return f"{text} * {last} + {place}"

    def _names(self, name: str) -> list[str]:
        return [f"{name}{k}" for k in range(1, len(self.sizes) + 1)]


def split(number: str, sizes: Sequence[int], names: Sequence[str]) -> str:
    """C that declares the coordinates of a number that counts row by row; the first takes what is left."""
    lines, rest = [], f"(u32)({number})"
    for n, name in zip(reversed(sizes[1:]), reversed(names[1:])):
        lines.append(f"const u32 {name}_rest = {rest} / {n}u, {name} = {rest} - {name}_rest * {n}u;")
        rest = f"{name}_rest"
    return " ".join([*lines, f"const u32 {names[0]} = {rest};"])
