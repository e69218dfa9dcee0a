"""Memory descriptors and primitive descriptors, owned by Python objects that free them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_int64
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

from cortex_compute.errors import BackendError
from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.library import STATUS, Desc, Handle, load
from cortex_compute.types import DType, float32

Sizes = tuple[int, ...]


REFUSALS = 2, 3  # invalid arguments, not implemented
LONGEST = 32  # so many post-ops a primitive may have


class Unimplemented(Exception):
    """oneDNN refuses a primitive or an operand; the message names it, its operands, and the status."""


class MemoryDesc:
    """How an operand lies: oneDNN's description, and the bytes that it takes."""

    def __init__(self, handle: Desc, name: str) -> None:
        self.handle, self.name = handle, name
        self._destroy = load().c.dnnl_memory_desc_destroy  # at the end of the process `load` may be gone
        self.nbytes: int = load().c.dnnl_memory_desc_get_size(handle)

    def __del__(self) -> None:
        self._destroy(self.handle)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemoryDesc) and bool(
            load().c.dnnl_memory_desc_equal(self.handle, other.handle)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return self.name


@lru_cache(maxsize=4096)
def strided(shape: Sizes, strides: Sizes, dtype: DType = float32) -> MemoryDesc:
    """An array: logical sizes in oneDNN's order, strides in elements.

    Raises `Unimplemented` for more than 12 axes, and for a negative stride.
    """
    described = len(shape), dims(shape), c.DTYPES[dtype], dims(strides)
    return _described("strides", described, f"{dtype}{list(shape)}", f" with strides {list(strides)}")


@lru_cache(maxsize=4096)
def chosen(shape: Sizes, dtype: DType = float32) -> MemoryDesc:
    """An operand whose layout the implementation may choose.  Raises `Unimplemented` as `strided` does."""
    described = len(shape), dims(shape), c.DTYPES[dtype], c.ANY
    return _described("tag", described, f"{dtype}{list(shape)}", " in any layout")


def _described(way: str, arguments: Sequence[Any], name: str, laid: str) -> MemoryDesc:
    handle, function = Desc(), f"memory_desc_create_with_{way}"
    status = getattr(load().c, f"dnnl_{function}")(byref(handle), *arguments)
    if status:
        told = f"oneDNN: {function} of {name}{laid}: {STATUS.get(status, 'unknown error')} (status {status})"
        raise Unimplemented(told) if status in REFUSALS else BackendError(told)
    return MemoryDesc(handle, name)


def dims(sizes: Sequence[int]) -> Any:
    """Sizes as C has them."""
    return (c_int64 * len(sizes))(*sizes)


class PostOp(NamedTuple):
    """An operation on what a primitive has computed: ``kind`` eltwise (algorithm, alpha, beta), binary
    (algorithm, operand) or prelu (mask)."""

    kind: str
    algorithm: int = 0
    alpha: float = 0.0
    beta: float = 0.0
    operand: MemoryDesc | None = None


class PrimitiveDesc:
    """A primitive with its implementation chosen.  Raises `Unimplemented` where there is none.

    ``arguments`` are those of ``dnnl_NAME_primitive_desc_create`` after the engine, `MemoryDesc` and sizes
    (tuples) as they are.  ``hint``: the forward, for a backward; it is kept alive.
    """

    def __init__(self, name: str, *arguments: Any, post_ops: Sequence[PostOp] = ()) -> None:
        self.library, self.name = load(), name
        self.operands = [a for a in arguments if isinstance(a, MemoryDesc)]
        self.operands += [op.operand for op in post_ops if op.operand is not None]
        self._kept = arguments
        self.handle, self.primitive = Handle(), Handle()
        self._threads, self._lock = self.library.threads(), Lock()
        attributes = self._attributes(post_ops)
        create = getattr(self.library.c, f"dnnl_{name}_primitive_desc_create")
        try:
            status = create(byref(self.handle), *self._converted(name, arguments), attributes)
        finally:
            self.library.c.dnnl_primitive_attr_destroy(attributes)
        if status in REFUSALS:
            raise Unimplemented(self._told(STATUS[status], status))
        if status:
            raise BackendError(self._told(STATUS.get(status, "unknown error"), status))

    def _told(self, what: str, status: int) -> str:
        return f"oneDNN: {self.name} of {', '.join(map(repr, self.operands))}: {what} (status {status})"

    def _converted(self, name: str, arguments: Sequence[Any]) -> list[Any]:
        engine = self.library.engine
        converted: list[Any] = [] if name == "reorder" else [engine]
        for a in arguments:
            if isinstance(a, (MemoryDesc, PrimitiveDesc)):
                converted.append(a.handle)
                if name == "reorder":
                    converted.append(engine)
            else:
                converted.append(dims(a) if isinstance(a, tuple) else a)
        return converted

    def _attributes(self, post_ops: Sequence[PostOp]) -> Handle:
        if len(post_ops) > LONGEST:
            raise Unimplemented(f"oneDNN: {self.name} with {len(post_ops)} post-ops; {LONGEST} are possible")
        call = self.library.call
        attributes, chain = Handle(), Handle()
        call("primitive_attr_create", byref(attributes))
        try:
            call("primitive_attr_set_scratchpad_mode", attributes, 1)
            call("post_ops_create", byref(chain))
            for op in post_ops:
                if op.kind == "eltwise":
                    call("post_ops_append_eltwise", chain, op.algorithm, op.alpha, op.beta)
                elif op.kind == "prelu":
                    call("post_ops_append_prelu", chain, op.algorithm)
                else:
                    assert op.operand is not None
                    call("post_ops_append_binary", chain, op.algorithm, op.operand.handle)
            call("primitive_attr_set_post_ops", attributes, chain)
        except BackendError:
            self.library.c.dnnl_primitive_attr_destroy(attributes)
            raise
        finally:
            if chain:
                self.library.c.dnnl_post_ops_destroy(chain)
        return attributes

    def __del__(self) -> None:
        if self.primitive:
            self.library.c.dnnl_primitive_destroy(self.primitive)
        if self.handle:
            self.library.c.dnnl_primitive_desc_destroy(self.handle)

    def desc(self, what: str) -> MemoryDesc:
        """The layout of one of the operands: src, weights, dst, workspace, ..."""
        found = self.library.c.dnnl_primitive_desc_query_md(self.handle, c.QUERY[what], 0)
        copy = Desc()
        self.library.call("memory_desc_clone", byref(copy), found)
        return MemoryDesc(copy, f"{self.name}.{what}")

    @property
    def implementation(self) -> str:
        """As oneDNN calls it: ``brgconv:avx512_core``, ``jit:uni``, ``ref:any``."""
        text = c_char_p()
        self.library.call("primitive_desc_query", self.handle, c.QUERY_IMPLEMENTATION, 0, byref(text))
        return (text.value or b"").decode()

    def create(self) -> Handle:
        """The primitive, made (and its code generated) at the first call, for as many threads as it was
        described for.
        """
        with self._lock:
            if not self.primitive:
                self.library.set_threads(self._threads)
                status = self.library.c.dnnl_primitive_create(byref(self.primitive), self.handle)
                if status:
                    raise BackendError(self._told(STATUS.get(status, "unknown error"), status))
        return self.primitive


class Memory:
    """A dnnl_memory over an address, which stays where it is until `move`."""

    def __init__(self, desc: MemoryDesc, address: int) -> None:
        self.handle = Handle()
        self._destroy = load().c.dnnl_memory_destroy
        load().call("memory_create", byref(self.handle), desc.handle, load().engine, address)

    def move(self, address: int) -> None:
        """From now on it is over another address."""
        load().c.dnnl_memory_set_data_handle(self.handle, address)

    def __del__(self) -> None:
        if self.handle:
            self._destroy(self.handle)


class Argument(ctypes.Structure):
    """``dnnl_exec_arg_t``"""

    _fields_ = (("argument", ctypes.c_int), ("memory", ctypes.c_void_p))
