"""One primitive on one backend, from arrays to arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.protocol import Backend, Offer, Operand
from cortex_compute.types import DType, TensorType, dtype, uint8
from cortex_compute.verify.placement import Placed


def types_of(arrays: tuple[np.ndarray, ...], narrow: DType | None = None) -> list[TensorType]:
    """The types of arrays; those of uint16 hold the bits of ``narrow``, where it is given."""
    bits = np.dtype(np.uint16)
    return [TensorType(a.shape, narrow if narrow and a.dtype == bits else dtype(a.dtype)) for a in arrays]


def computed(
    backend: Backend,
    primitive: Primitive,
    *arrays: np.ndarray,
    narrow: DType | None = None,
    offer: Any = None,
) -> list[np.ndarray]:
    """The outputs of ``primitive``, or of another ``offer`` for it, computed in poisoned memory."""
    types = types_of(arrays, narrow)
    found = offer or backend.offer(primitive, [Operand(t) for t in types])
    assert isinstance(found, Offer), found
    device = backend.devices()[0]
    stream = device.stream()
    placed = [Placed(device, t) for t in types]
    for place, array in zip(placed, arrays):
        place.write(stream, array)
    residual = TensorType((found.residual,), uint8)
    outputs = [Placed(device, residual if t == OPAQUE else t) for t in primitive.infer(*types)]
    workspace = Placed(device, TensorType((found.workspace,), uint8))
    for place in [*outputs, workspace]:
        place.poison(stream)
    launch = found.build().bind([p.array for p in placed], [p.array for p in outputs], workspace.array)
    with stream.active():
        launch(stream)
    results = [p.read(stream) for p in [*outputs, workspace]]
    assert all(clean for _, clean in results)  # nothing was written beside
    stream.close()
    return [values for values, _ in results[:-1]]
