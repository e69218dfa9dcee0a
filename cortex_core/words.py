"""What PyTorch's tensors have beside the ops: `Tensor` has it from here, in PyTorch's words."""

from __future__ import annotations

from typing import Any, TypeVar

from cortex_core.ops.array import Array

W = TypeVar("W", bound="Words")


class Words(Array):
    """Tensors made in the type of this one, and random numbers in place."""

    __slots__ = ()

    def new_tensor(self, data: Any, dtype: object = None, requires_grad: bool = False) -> Any:
        """A Tensor with a copy of ``data``, without ``dtype`` in the type of this one."""
        from cortex_core.creation import tensor

        return tensor(data, dtype or self.dtype, requires_grad)

    def new_full(self, size: Any, fill_value: Any, dtype: object = None, requires_grad: bool = False) -> Any:
        """One number everywhere, without ``dtype`` in the type of this one."""
        from cortex_core.creation import full

        return full(size, fill_value, dtype or self.dtype, requires_grad)

    def new_zeros(self, *size: Any, dtype: object = None, requires_grad: bool = False) -> Any:
        """Zeros, without ``dtype`` in the type of this one."""
        from cortex_core.creation import zeros

        return zeros(*size, dtype=dtype or self.dtype, requires_grad=requires_grad)

    def new_ones(self, *size: Any, dtype: object = None, requires_grad: bool = False) -> Any:
        """Ones, without ``dtype`` in the type of this one."""
        from cortex_core.creation import ones

        return ones(*size, dtype=dtype or self.dtype, requires_grad=requires_grad)

    def normal_(self: W, mean: float = 0.0, std: float = 1.0) -> W:
        """In place: normal numbers."""
        from cortex_core.nn.init import normal_

        return normal_(self, mean, std)  # type: ignore[type-var]

    def uniform_(self: W, a: float = 0.0, b: float = 1.0) -> W:
        """In place: uniform between ``a`` and ``b``."""
        from cortex_core.nn.init import uniform_

        return uniform_(self, a, b)  # type: ignore[type-var]
