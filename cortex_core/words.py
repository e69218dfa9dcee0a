"""New tensors like one that is there, in PyTorch's words; Tensors and symbolic Values have them."""

from __future__ import annotations

from typing import Any

from cortex_core.ops.array import Array


class Words(Array):
    """What makes Tensors in the type of this one."""

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
