"""A layer that gives pictures a size."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from cortex_core.layers.expect import floating, refuse, spatial
from cortex_core.layers.scope import Scope
from cortex_core.ops.indexing import gather
from cortex_core.ops.resize import resize
from cortex_core.registry import Size, field, layer

LARGEST = 65_536
"""No side is longer: what a description says must not take the memory before anything is computed."""


@layer("resize2d", main="size", rank=2, transparent=True)
class Resize2D:
    """The picture in another size.   x (B, H, W, C) -> (B, *size, C)

    Elements are squares, and the outer edges of both pictures coincide.  `bilinear` weighs the two nearest
    along each axis by their distance to the middle of the new one, also where the picture becomes smaller;
    `nearest` takes the one in which that middle lies.

    As PyTorch's interpolate with align_corners=False, and with mode="nearest-exact".

    Example:
        inputs: {image: [2, 3, 2]}
        layers: [resize2d: [3, 2]]
    """

    kind: ClassVar[str]
    rank: ClassVar[int]

    size: Size = field(doc="height and width of the new picture", minimum=1, maximum=LARGEST)
    mode: Literal["bilinear", "nearest"] = field(default="bilinear", doc="what is between the elements")

    def forward(self, p: Scope, x: Any) -> Any:
        spatial(self, x)
        if 0 in x.shape[1:3]:
            refuse("resize2d needs a picture of one element at least", x)
        if self.mode == "bilinear":
            floating(self, x)
            return resize(x, self.size, [m / n for m, n in zip(self.size, x.shape[1:])], linear=True)
        for axis, m in enumerate(self.size, 1):
            n = x.shape[axis]
            if m != n:
                x = gather(x, (2 * np.arange(m) + 1) * n // (2 * m), axis)
        return x
