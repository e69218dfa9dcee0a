"""How a layer says that an input does not suit it."""

from __future__ import annotations

from typing import Any, NoReturn

from cortex_compute.errors import DTypeError, ShapeError


def refuse(needs: str, *inputs: Any) -> NoReturn:
    """Raises a `ShapeError`: the shapes of the inputs (TensorTypes or Arrays), and what the layer needs.

    The batch axis is left out, as descriptions leave it out.  ``reason`` of the error is ``needs``
    alone, for a caller that names the inputs itself.
    """
    if len(inputs) == 1:
        shown = f"the input is {inputs[0].shape[1:]}"
    else:
        shown = ", ".join(f"input {i} is {x.shape[1:]}" for i, x in enumerate(inputs))
    raise reasoned(ShapeError, shown, needs)


FLOATING = "an input says so by 'dtype: float32', and an embedding makes it of tokens"


def whole_numbers(layer: Any, x: Any) -> None:
    """Raises a `DTypeError` for an input of another kind."""
    if x.dtype.kind != "int":
        needs = f"{layer.kind} needs whole numbers, not {x.dtype}; an input says so by 'dtype: int64'"
        raise reasoned(DTypeError, f"the input is {x.dtype} {x.shape[1:]}", needs)


def floating(layer: Any, x: Any) -> None:
    """Raises a `DTypeError` for an input of another kind."""
    if x.dtype.kind != "float":
        needs = f"{layer.kind} needs a floating type, not {x.dtype}; {FLOATING}"
        raise reasoned(DTypeError, f"the input is {x.dtype} {x.shape[1:]}", needs)


def reasoned(kind: type[Exception], shown: str, needs: str) -> Exception:
    """An error with what was given and what is needed; ``reason`` is the need alone."""
    error = kind(f"{shown}: {needs}")
    error.reason = needs  # type: ignore[attr-defined]
    return error


AXES = {
    0: "(channels)",
    1: "(length, channels)",
    2: "(height, width, channels)",
    3: "(depth, height, width, channels)",
}


def spatial(layer: Any, x: Any) -> None:
    """Rejects an input that does not have the layer's ``rank`` spatial axes and one of channels."""
    if len(x.shape) != layer.rank + 2:
        refuse(f"{layer.kind} needs {AXES.get(layer.rank, f'{layer.rank} spatial axes and channels')}", x)


def same_shapes(layer: Any, inputs: tuple[Any, ...]) -> None:
    """Rejects inputs whose shapes differ."""
    if any(x.shape != inputs[0].shape for x in inputs):
        refuse(f"{layer.kind} needs equal shapes", *inputs)


def each_position(layer: Any, x: Any, axis: int) -> Any:
    """``x`` (B, 1, ...) of one position; rejects a layer that works along the axis of all positions."""
    if axis % len(x.shape) < 2:
        refuse(f"{layer.kind} along axis {axis} sees all positions at once", x)
    return x
