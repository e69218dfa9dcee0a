"""Recurrent layers whose gates are products with matrices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

from cortex_compute.primitives.normalization import vector_type
from cortex_compute.primitives.recurrence import ACTIVATIONS
from cortex_compute.types import TensorType
from cortex_core.initializers import Constant
from cortex_core.layers.activations import activate
from cortex_core.layers.recurrence import Declared, Recurrence
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.ops import recurrence
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import cast
from cortex_core.ops.views import narrow
from cortex_core.registry import Activation, Fault, base, field, layer

GATES = ("input", "forget", "cell", "output")


def forget_biased(initializer: Any, forget_bias: float) -> tuple[Any, ...]:
    """The initialisers of the biases of an lstm's gates."""
    forget = Constant(value=forget_bias)
    return tuple(forget if gate == "forget" else initializer for gate in GATES)


@base
class Units:
    """Comes first among the fields."""

    units: int = field(doc="size of the state", minimum=1)


@base
class Gates:
    """What makes gates of sums, for layers that have any."""

    activation: Activation | None = field(default="tanh", doc="of what is new, and of the cell")
    recurrent_activation: Activation | None = field(default="sigmoid", doc="of the gates")

    @property
    def known(self) -> dict[str, Any] | None:
        """What tells kernels which activations these are; None where they compute no such ones."""
        new, gate = (getattr(a, "kind", "linear") for a in (self.activation, self.recurrent_activation))
        if new not in ACTIVATIONS or gate not in ("sigmoid", "hard_sigmoid"):
            return None
        return {"activation": new, "slope": getattr(self.recurrent_activation, "slope", None)}

    def next_states(self, gates: Sequence[Any], c: Any) -> tuple[Any, Any]:
        """An lstm's h' and c', of the sums of its gates and the cell."""
        if self.known is not None:
            found = recurrence.formula(**self.known)
            cell = recurrence.next_cell(*gates[:3], c, **found)
            return recurrence.next_hidden(gates[3], cell, **found), cell
        i, f, o = (activate(self.recurrent_activation, gates[k]) for k in (0, 1, 3))
        cell = f * c + i * activate(self.activation, gates[2])
        return o * activate(self.activation, cell), cell


@base
class Gated(Recurrence, Units):
    """The layers whose gates are products of the features and the state with matrices."""

    gates: ClassVar[tuple[str, ...]] = ()

    def states(self, x: Any) -> dict[str, tuple[int, ...]]:
        return {"hidden": (self.units,)}

    def weights(self, x: TensorType) -> Declared:
        width, rows = max(1, len(self.gates)) * self.units, self.states(x)["hidden"][0]
        yield Parameter("kernel", (x.shape[2], width), self.kernel_initializer, parts=self.gates)
        yield Parameter("recurrent_kernel", (rows, width), self.recurrent_initializer, parts=self.gates)
        if self.use_bias:
            yield Parameter("bias", (width,), self.biases(), precise=True, parts=self.gates)

    def biases(self) -> Any:
        """The initialiser of the bias, or one for each gate."""
        return self.bias_initializer

    def vector(self, p: Scope, x: Any, name: str, size: int) -> Any:
        """A bias, or zeros where there is none."""
        if self.use_bias:
            return getattr(p, name)
        return recurrence.zeros(TensorType((size,), vector_type(x.dtype)), x)

    @property
    def known(self) -> dict[str, Any] | None:
        """What tells kernels which activations these are; None where they compute no such ones."""
        raise NotImplementedError

    @property
    def unrolled(self) -> bool:
        return self.known is None

    def walk(self, p: Scope, x: Any, states: Sequence[Any], seen: Any) -> tuple[Any, ...]:
        known = self.known
        return self.composed(p, x, states, seen) if known is None else self.fused(p, x, states, seen, known)

    def fused(
        self, p: Scope, x: Any, states: Sequence[Any], seen: Any, known: dict[str, Any]
    ) -> tuple[Any, ...]:
        """The walk by one kernel."""
        raise NotImplementedError

    def composed(self, p: Scope, x: Any, states: Sequence[Any], seen: Any) -> tuple[Any, ...]:
        """The walk by `after`, for activations that no kernel computes."""
        of_x = _product(x, p.kernel) + self.vector(p, x, "bias", p.kernel.shape[1])
        return recurrence.walked(partial(self.after, p), of_x, states, seen, self.reverse)

    def after(self, p: Scope, a: Any, *states: Any) -> tuple[Any, ...]:
        """The states after a step, of those before it and a = x kernel + bias."""
        raise NotImplementedError


def _product(x: Any, kernel: Any) -> Any:
    """x kernel, in the type in which gates are computed."""
    return cast(matmul(x, kernel), vector_type(x.dtype))


@layer("simple_rnn", main="units", outputs=("last",))
class SimpleRnn(Gated):
    """h' = f(x kernel + h recurrent_kernel + bias).   x (B, T, in) -> (B, units), or (B, T, units)

    kernel (in, units), recurrent_kernel (units, units), bias (units,).  Elman, 1990.

    Example:
        inputs: {sequence: [3, 2]}
        layers: [simple_rnn: 3]
    """

    activation: Activation | None = field(default="tanh", doc="f")

    @property
    def known(self) -> dict[str, Any] | None:
        kind = getattr(self.activation, "kind", "linear")
        return {"activation": kind} if kind in ACTIVATIONS else None

    def fused(
        self, p: Scope, x: Any, states: Sequence[Any], seen: Any, known: dict[str, Any]
    ) -> tuple[Any, ...]:
        (h,), bias = states, self.vector(p, x, "bias", self.units)
        return recurrence.rnn(x, p.kernel, p.recurrent_kernel, bias, h, seen, reverse=self.reverse, **known)

    def after(self, p: Scope, a: Any, *states: Any) -> tuple[Any, ...]:
        (h,) = states
        return (cast(activate(self.activation, a + _product(h, p.recurrent_kernel)), h.dtype),)


@layer("lstm", main="units", outputs=("last", "cell"))
class Lstm(Gates, Gated):
    """Long short-term memory: c' = f c + i g,  h' = o tanh(c').

    x (B, T, in) -> (B, units), or (B, T, units).
    i, f, g and o lie side by side in x kernel + h recurrent_kernel + bias; g goes through tanh, the others
    through the sigmoid, unless other activations are named.  With tanh or relu, and gates of sigmoid or
    hard_sigmoid, all steps are one kernel; else each is planned by itself, and 2,000 are the most.
    kernel (in, 4 units), recurrent_kernel (units, 4 units), bias (4 units,); with a projection
    h' = o tanh(c') projection, (units, projection).
    Hochreiter and Schmidhuber, 1997.

    Example:
        inputs: {sequence: [3, 2]}
        layers: [lstm: {units: 3, return: sequence}]
    """

    gates = GATES
    projection: int | None = field(default=None, doc="size of the output, where it is another", minimum=1)
    forget_bias: float = field(default=1.0, doc="initial bias of the forget gate")

    def check(self) -> Iterator[Fault]:
        """Also that a forget bias that is asked for has a place."""
        yield from super().check()
        if not self.use_bias and self.forget_bias != 1.0:
            yield Fault(
                ("forget_bias",), "without biases there is none to begin with", "expected use_bias: true"
            )

    def states(self, x: Any) -> dict[str, tuple[int, ...]]:
        return {"hidden": (self.projection or self.units,), "cell": (self.units,)}

    def weights(self, x: TensorType) -> Declared:
        yield from super().weights(x)
        if self.projection:
            yield Parameter("projection", (self.units, self.projection), self.kernel_initializer)

    def biases(self) -> Any:
        return forget_biased(self.bias_initializer, self.forget_bias)

    def fused(
        self, p: Scope, x: Any, states: Sequence[Any], seen: Any, known: dict[str, Any]
    ) -> tuple[Any, ...]:
        bias = self.vector(p, x, "bias", 4 * self.units)
        rest = *states, p.get("projection"), seen, self.reverse
        return recurrence.lstm(x, p.kernel, p.recurrent_kernel, bias, *rest, **known)

    def after(self, p: Scope, a: Any, *states: Any) -> tuple[Any, ...]:
        h, c = states
        gates = recurrence.parts(a + _product(h, p.recurrent_kernel), 4)
        new, cell = self.next_states(gates, c)
        new = cast(new, h.dtype)
        return cast(matmul(new, p.projection), h.dtype) if self.projection else new, cell


@layer("gru", main="units", outputs=("last",))
class Gru(Gates, Gated):
    """Gated recurrent unit: h' = (1 - z) m + z h.

    x (B, T, in) -> (B, units), or (B, T, units).
    r and z are sigmoids of x kernel + h recurrent_kernel + bias.  With ``reset_after`` m = tanh(x kernel +
    bias + r (h recurrent_kernel + recurrent_bias)), else m = tanh(x kernel + bias + (r h) recurrent_kernel).
    Other activations may be named, as in an lstm.
    kernel (in, 3 units), recurrent_kernel (units, 3 units), bias (3 units,), recurrent_bias (units,).
    Cho et al., 2014.

    Example:
        inputs: {sequence: [3, 2]}
        layers: [gru: 3]
    """

    gates = ("reset", "update", "candidate")
    reset_after: bool = field(default=True, doc="the reset gate multiplies the product with the state")

    def weights(self, x: TensorType) -> Declared:
        yield from super().weights(x)
        if self.use_bias and self.reset_after:
            yield Parameter("recurrent_bias", (self.units,), self.bias_initializer, precise=True)

    def fused(
        self, p: Scope, x: Any, states: Sequence[Any], seen: Any, known: dict[str, Any]
    ) -> tuple[Any, ...]:
        bias = self.vector(p, x, "bias", 3 * self.units)
        inner = self.vector(p, x, "recurrent_bias", self.units) if self.reset_after else None
        rest = *states, inner, seen, self.reverse
        return recurrence.gru(x, p.kernel, p.recurrent_kernel, bias, *rest, **known)

    def after(self, p: Scope, a: Any, *states: Any) -> tuple[Any, ...]:
        (h,) = states
        kernel, wide = p.recurrent_kernel, cast(h, vector_type(h.dtype))
        own = kernel if self.reset_after else narrow(kernel, 1, 0, 2 * self.units)
        sums = recurrence.parts(_product(h, own), 3 if self.reset_after else 2)
        ar, az, am = recurrence.parts(a, 3)
        r, z = (activate(self.recurrent_activation, a + b) for a, b in zip((ar, az), sums))
        if self.reset_after:
            inner = r * (sums[2] + self.vector(p, h, "recurrent_bias", self.units))
        else:
            inner = _product(cast(r * wide, h.dtype), narrow(kernel, 1, 2 * self.units, self.units))
        m = activate(self.activation, am + inner)
        return (cast((1 - z) * m + z * wide, h.dtype),)
