"""A recurrence over sequences of images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from cortex_compute.primitives.normalization import vector_type
from cortex_compute.primitives.windows import window_count
from cortex_compute.types import TensorType
from cortex_core.layers.recurrence import Declared, Recurrence
from cortex_core.layers.recurrent import GATES, Gates, forget_biased
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.layers.windows import Pairs, paddings
from cortex_core.ops import recurrence
from cortex_core.ops.convolution import conv
from cortex_core.ops.pointwise import cast
from cortex_core.ops.views import reshape
from cortex_core.registry import Size, base, field, layer


@base
class Windows:
    """Comes first among the fields."""

    filters: int = field(doc="channels of the state", minimum=1)
    kernel: Size = field(doc="size of the window")
    stride: Size = field(default=1, doc="step of the window over the input; over the state it is 1")
    padding: Literal["valid", "same"] = field(default="valid", doc="of the input; the state is always padded")


@layer("conv_lstm2d", main="filters", rank=2, outputs=("last", "cell"))
class ConvLstm2D(Gates, Recurrence, Windows):
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
        return recurrence.walked(partial(self._after, p), gates, states, seen, self.reverse)

    def _after(self, p: Scope, a: Any, h: Any, c: Any) -> tuple[Any, Any]:
        """The states after a step, of those before it and a = x * kernel + bias."""
        around = paddings(self, h, self.kernel, (1, 1), "same", (1, 1))
        a = a + cast(conv(h, p.recurrent_kernel, 1, around), vector_type(h.dtype))
        hidden, cell = self.next_states(recurrence.parts(a, 4), c)
        return cast(hidden, h.dtype), cell

    def _paddings(self, image: Any) -> Pairs:
        return paddings(self, image, self.kernel, self.stride, self.padding, (1, 1))
