"""A layer at each step of a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cortex_compute.types import TensorType
from cortex_core.layers.expect import refuse
from cortex_core.layers.recurrence import Declared, Recurrence
from cortex_core.layers.scope import Scope
from cortex_core.ops.views import reshape
from cortex_core.registry import Fault, Layer, Source, field, fields_of, layer, sources_of


@layer("time_distributed", main="layer", outputs=("last", "cell", "mask"), positionwise=True)
class TimeDistributed:
    """The same layer, with the same parameters, at each step.   x (B, T, ...) -> (B, T, ...)

    Batch and time are one axis while it works, so that batch_norm counts each step as an example, and lstm
    walks along the words of each of T sentences (B, T, words, features), of which a mask (B, T, words) says
    which count.  What the layer gives beside its value, such as ``ID.last``, has steps too.
    As the layer of this name in Keras (Chollet et al., 2015).

    Example:
        inputs: {frames: [2, 3, 3, 1]}
        layers: [time_distributed: {layer: {conv2d: {filters: 2, kernel: 2}}}]
    """

    layer: Layer = field(doc="a layer that works on one input, such as {conv2d: 8}")
    mask: Source | None = field(default=None, doc="(steps, ...): the mask of the layer, at each step")

    def check(self) -> Iterator[Fault]:
        """The layer works on its input alone, and each step by itself."""
        inputs = self.layer.inputs
        if inputs != 1 and not (isinstance(inputs, tuple) and 1 in inputs):
            found = f"{self.layer.kind} cannot work on one input"
            yield Fault(("layer",), found, "expected a layer of one input")
        if isinstance(self.layer, Recurrence) and self.layer.stateful:
            found = "each step begins anew"
            yield Fault(("layer", self.layer.kind, "stateful"), found, "expected false")
        for path, _ in sources_of(self.layer):
            found = "other values of the network have no steps"
            expected = "expected 'mask' beside 'layer'" if path[-1] == "mask" else "expected nothing here"
            yield Fault(("layer", self.layer.kind, *path), found, expected)
        if self.mask is not None and not _heeds_mask(self.layer):
            yield Fault(("mask",), f"{self.layer.kind} takes no mask", "expected none")

    def lacks(self) -> dict[str, str]:
        """The outputs that there are not with this layer, and what would give them."""
        own: dict[str, str] = self.layer.lacks() if hasattr(self.layer, "lacks") else {}
        missing = {*type(self).outputs} - {*self.layer.outputs}  # type: ignore[attr-defined]
        return own | {name: f"a layer that has a {name}" for name in missing}

    def parameters(self, x: TensorType) -> Declared:
        if x.rank < 3:
            refuse("time_distributed needs (length, ...), and an axis for the layer", x)
        if hasattr(self.layer, "parameters"):
            yield from self.layer.parameters(TensorType((x.shape[0] * x.shape[1], *x.shape[2:]), x.dtype))

    def forward(self, p: Scope, x: Any, mask: Any = None) -> Any:
        steps = x.shape[:2]
        if mask is not None and (mask.shape[:2] != steps or len(mask.shape) < 3):
            refuse(
                f"time_distributed needs a mask of (length, ...) with the {steps[1]} steps of its input", mask
            )
        named = {} if mask is None else {"mask": _together(mask)}
        y = self.layer.forward(p, _together(x), **named)
        if not isinstance(y, tuple):
            return _apart(y, steps)
        y, others = y
        known = type(self).outputs  # type: ignore[attr-defined]
        return _apart(y, steps), {name: _apart(z, steps) for name, z in others.items() if name in known}


def _together(x: Any) -> Any:
    """x with batch and time as one axis."""
    return reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def _apart(y: Any, steps: tuple[int, ...]) -> Any:
    """y with batch and time as two axes again."""
    return reshape(y, (*steps, *y.shape[1:]))


def _heeds_mask(inner: Any) -> bool:
    """Whether a layer, or the one that it turns around, takes a mask."""
    held = getattr(inner, "layer", None)
    return "mask" in fields_of(type(inner)) or (held is not None and _heeds_mask(held))
