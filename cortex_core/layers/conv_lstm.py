"""A recurrence over sequences of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from cortex_compute.primitives.normalization import vector_type
from cortex_compute.primitives.windows import window_count
from cortex_compute.types import TensorType
from cortex_core.layers.recurrent import GATES, Declared, Recurrence, forget_biased
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.layers.windows import Pairs, paddings
from cortex_core.ops.convolution import conv
from cortex_core.ops.indexing import stack
from cortex_core.ops.pointwise import cast, select
from cortex_core.ops.recurrence import next_cell, next_hidden
from cortex_core.ops.views import narrow, reshape
from cortex_core.registry import Size, base, field, layer


@base
class Windows:
    """Comes first among the fields."""

    filters: int = field(doc="channels of the state", minimum=1)
    kernel: Size = field(doc="size of the window")
    stride: Size = field(default=1, doc="step of the window over the input; over the state it is 1")
    padding: Literal["valid", "same"] = field(default="valid", doc="of the input; the state is always padded")


@layer("conv_lstm2d", main="filters", rank=2, outputs=("last", "cell"))
class ConvLstm2D(Recurrence, Windows):
    """An lstm whose products are convolutions: the gates are x * kernel + h * recurrent_kernel + bias.

    x (B, T, H, W, in), kernel (KH, KW, in, 4 filters), recurrent_kernel (KH, KW, filters, 4 filters), bias
    (4 filters,) -> (B, H', W', filters), or (B, T, H', W', filters).  Shi et al., 2015, without peepholes.

    Example:
        inputs: {film: [2, 3, 2, 1]}
        layers: [conv_lstm2d: {filters: 1, kernel: 2}]
    """

    axes = "(length, height, width, channels)"
    forget_bias: float = field(default=1.0, doc="initial bias of the forget gate")

    def states(self, x: Any) -> dict[str, tuple[int, ...]]:
        image = TensorType((x.shape[0], *x.shape[2:]), x.dtype)
        sizes = zip(image.shape[1:3], self.kernel, self.stride, self._paddings(image), (1, 1))
        shape = (*(window_count(*size) for size in sizes), self.filters)
        return {"hidden": shape, "cell": shape}

    def weights(self, x: TensorType) -> Declared:
        self.states(x)  # refuses a window that does not fit
        width = 4 * self.filters
        shapes = (*self.kernel, x.shape[-1], width), (*self.kernel, self.filters, width)
        yield Parameter("kernel", shapes[0], self.kernel_initializer, parts=GATES)
        yield Parameter("recurrent_kernel", shapes[1], self.recurrent_initializer, parts=GATES)
        if self.use_bias:
            initializers = forget_biased(self.bias_initializer, self.forget_bias)
            yield Parameter("bias", (width,), initializers, precise=True, parts=GATES)

    def walk(self, p: Scope, x: Any, states: Sequence[Any], seen: Any) -> tuple[Any, ...]:
        batch, steps = x.shape[:2]
        images = reshape(x, (batch * steps, *x.shape[2:]))
        wide = vector_type(x.dtype)
        gates = cast(conv(images, p.kernel, self.stride, self._paddings(images)), wide)
        gates = reshape(gates + p.bias if self.use_bias else gates, (batch, steps, *gates.shape[1:]))
        h, c = states
        around = paddings(self, h, self.kernel, (1, 1), "same", (1, 1))
        ys: dict[int, Any] = {}
        for t in range(steps)[:: -1 if self.reverse else 1]:
            a = reshape(narrow(gates, 1, t, 1), gates.shape[:1] + gates.shape[2:])
            a = a + cast(conv(h, p.recurrent_kernel, 1, around), wide)
            i, f, g, o = (narrow(a, -1, k * self.filters, self.filters) for k in range(4))
            cell = next_cell(i, f, g, c)
            hidden = cast(next_hidden(o, cell), x.dtype)
            if seen is None:
                ys[t], h, c = hidden, hidden, cell
            else:
                counts = reshape(narrow(seen, 1, t, 1), (batch, 1, 1, 1))
                ys[t], h, c = select(counts, hidden, 0.0), select(counts, hidden, h), select(counts, cell, c)
        return stack([ys[t] for t in range(steps)], 1), h, c

    def _paddings(self, image: Any) -> Pairs:
        return paddings(self, image, self.kernel, self.stride, self.padding, (1, 1))
