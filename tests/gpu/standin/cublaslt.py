"""A stand-in for libcublasLt: the same functions behind the same C prototypes, computed by NumPy.

It rejects what the library rejects (`cublasLt.h` of cuBLAS 12.9 says what), keeps count of what is alive, and
runs its products when the stream gets there.  ``told`` holds the reason of each rejection.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cortex_compute.verify import bfloat16
from cortex_gpu.cublaslt.library import PROTOTYPES, Library
from tests.gpu.standin import enqueue, view

SUCCESS, NOT_INITIALIZED, INVALID, INTERNAL, NOT_SUPPORTED = 0, 1, 7, 14, 15
NAMES = {
    0: "CUBLAS_STATUS_SUCCESS", 1: "CUBLAS_STATUS_NOT_INITIALIZED", 7: "CUBLAS_STATUS_INVALID_VALUE",
    14: "CUBLAS_STATUS_INTERNAL_ERROR", 15: "CUBLAS_STATUS_NOT_SUPPORTED",
}  # fmt: skip
FLOAT, DOUBLE, HALF, BRAIN = 0, 1, 2, 14
TYPES = {FLOAT: np.float32, DOUBLE: np.float64, HALF: np.float16, BRAIN: np.uint16}
COMPUTE = {68: (FLOAT, HALF, BRAIN), 70: (DOUBLE,), 77: (FLOAT,)}  # 32F, 64F, 32F_FAST_TF32
NOTHING, BIAS, SUMS_OF_A = 1, 4, 256
OPERATION = {3: "i", 4: "i", 7: "I", 8: "P", 26: "i"}  # attribute: how its value is kept
LAYOUT = {5: "i", 6: "q"}
PREFERENCE = {1: "Q", 3: "I", 5: "I", 6: "I", 7: "I", 8: "I"}


class Rejected(Exception):
    """A call that the library would answer with a status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class Object:
    """A descriptor: its kind, what it was made with, and the attributes that were set."""

    kind: str
    made: tuple[int, ...] = ()
    attributes: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A matrix layout as numbers."""

    type: int
    rows: int
    columns: int
    leading: int
    batch: int
    stride: int

    def at(self, address: int, turned: int) -> np.ndarray:
        """The batch of matrices at an address, in double precision."""
        raw = self.raw(address)
        values = bfloat16.loaded(raw) if self.type == BRAIN else raw.astype(np.float64)
        return values.swapaxes(1, 2) if turned else values

    def raw(self, address: int) -> np.ndarray:
        item = np.dtype(TYPES[self.type]).itemsize
        strides = self.stride * item, item, self.leading * item
        return view(address, (self.batch, self.rows, self.columns), TYPES[self.type], strides)


class CublasLt:
    """The functions of the library, as attributes with their C names.

    ``algorithms``: whether the heuristic finds any; ``failing``: by epilogue, a status that it answers with.
    ``calls``: names in the order of the calls.
    ``preferences``: what each heuristic was asked with.
    """

    def __init__(
        self, version: int = 120903, algorithms: bool = True, failing: dict[int, int] | None = None
    ) -> None:
        self.version, self.algorithms, self.failing = version, algorithms, failing or {}
        self.calls: list[str] = []
        self.told: list[str] = []
        self.preferences: list[dict[int, int]] = []
        self.handles: set[int] = set()
        self.objects: dict[int, Object] = {}
        self._next = 0x1000
        self._texts: list[ctypes.Array[ctypes.c_char]] = []
        for name, (result, arguments) in PROTOTYPES.items():
            setattr(
                self, f"cublasLt{name}", ctypes.CFUNCTYPE(result, *arguments)(self._guarded(name, result))
            )

    def library(self) -> Library:
        """The library as `cortex_gpu` opens it."""
        return Library(self, "the stand-in for libcublasLt")

    def _guarded(self, name: str, result: Any) -> Callable[..., Any]:
        """What C calls: a rejection becomes its status, anything else an internal error that is told."""
        function: Callable[..., Any] = getattr(self, name)
        if result is not ctypes.c_int:
            return function

        def call(*arguments: Any) -> int:
            self.calls.append(name)
            try:
                function(*arguments)
            except Rejected as rejected:
                self.told.append(f"{name}: {rejected}")
                return rejected.status
            except Exception as error:  # must not be lost on its way through C
                self.told.append(f"{name}: {type(error).__name__}: {error}")
                return INTERNAL
            return SUCCESS

        return call

    # What is not about products.

    def GetVersion(self) -> int:
        return self.version

    def GetStatusName(self, status: int) -> int:
        return self._text(NAMES[status])

    def GetStatusString(self, status: int) -> int:
        return self._text(self.told[-1])

    def _text(self, text: str) -> int:
        """The address of a text, which stays as long as the library."""
        self._texts.append(ctypes.create_string_buffer(text.encode()))
        return ctypes.addressof(self._texts[-1])

    def Create(self, made: Any) -> None:
        self.handles.add(self._address(made))

    def Destroy(self, handle: int) -> None:
        self._handle(handle)
        self.handles.remove(handle)

    def _address(self, made: Any) -> int:
        self._next += 0x100
        made[0] = self._next
        return self._next

    def _handle(self, handle: int) -> None:
        if handle not in self.handles:
            raise Rejected(NOT_INITIALIZED, f"{handle} is no living handle")

    # Objects and their attributes.

    def MatmulDescCreate(self, made: Any, compute: int, scale: int) -> None:
        if compute not in COMPUTE or scale != (DOUBLE if compute == 70 else FLOAT):
            raise Rejected(INVALID, f"compute type {compute} with scale type {scale}")
        self.objects[self._address(made)] = Object("operation", (compute, scale))

    def MatrixLayoutCreate(self, made: Any, type: int, rows: int, columns: int, leading: int) -> None:
        self.objects[self._address(made)] = Object("layout", (type, rows, columns, leading))

    def MatmulPreferenceCreate(self, made: Any) -> None:
        self.objects[self._address(made)] = Object("preference")

    def MatmulDescSetAttribute(self, address: int, attribute: int, value: int, size: int) -> None:
        self._set(self._object(address, "operation"), OPERATION, attribute, value, size)

    def MatrixLayoutSetAttribute(self, address: int, attribute: int, value: int, size: int) -> None:
        self._set(self._object(address, "layout"), LAYOUT, attribute, value, size)

    def MatmulPreferenceSetAttribute(self, address: int, attribute: int, value: int, size: int) -> None:
        self._set(self._object(address, "preference"), PREFERENCE, attribute, value, size)

    def MatmulDescDestroy(self, address: int) -> None:
        self._destroy(address, "operation")

    def MatrixLayoutDestroy(self, address: int) -> None:
        self._destroy(address, "layout")

    def MatmulPreferenceDestroy(self, address: int) -> None:
        self._destroy(address, "preference")

    def _object(self, address: int, kind: str) -> Object:
        found = self.objects.get(address)
        if found is None or found.kind != kind:
            raise Rejected(INVALID, f"{address} is no living {kind}")
        return found

    def _destroy(self, address: int, kind: str) -> None:
        self._object(address, kind)
        del self.objects[address]

    @staticmethod
    def _set(found: Object, kept: dict[int, str], attribute: int, value: int, size: int) -> None:
        if attribute not in kept or not value or size != struct.calcsize(kept[attribute]):
            raise Rejected(INVALID, f"attribute {attribute} of a {found.kind} with a value of {size} bytes")
        (found.attributes[attribute],) = struct.unpack(kept[attribute], ctypes.string_at(value, size))

    # Products.

    def MatmulAlgoGetHeuristic(
        self, handle: int, operation: int, a: int, b: int, c: int, d: int, preference: int, wanted: int,
        results: Any, count: Any,
    ) -> None:  # fmt: skip
        self._handle(handle)
        if wanted <= 0:
            raise Rejected(INVALID, "no result is asked for")
        problem = self._problem(operation, a, b, c, d)
        given = self._object(preference, "preference").attributes
        self.preferences.append(dict(given))
        if not self.algorithms:
            raise Rejected(NOT_SUPPORTED, "told to have none")
        if problem["epilogue"] in self.failing:
            raise Rejected(self.failing[problem["epilogue"]], "told to fail")
        if problem["epilogue"] == SUMS_OF_A and problem["a"].type == DOUBLE:
            raise Rejected(NOT_SUPPORTED, "no sums in double precision")
        alignment = min(given.get(k, 256) for k in (5, 6, 7, 8))
        item = np.dtype(TYPES[problem["a"].type]).itemsize
        if alignment % item:
            raise Rejected(INVALID, f"alignments {given} for elements of {item} bytes")
        bulk = all(problem[x].leading * item % 16 == 0 for x in "abd")
        needs = 16 if alignment >= 16 and bulk else item
        workspace = 1024 if given.get(1, 0) >= 1024 else 0
        results[0].algo.data[:3] = [needs, workspace, _key(problem)]
        results[0].workspaceSize, results[0].state = workspace, SUCCESS
        count[0] = 1

    def Matmul(
        self, handle: int, operation: int, alpha: int, a: int, a_layout: int, b: int, b_layout: int,
        beta: int, c: int, c_layout: int, d: int, d_layout: int, algorithm: Any, workspace: int,
        size: int, stream: int,
    ) -> None:  # fmt: skip
        self._handle(handle)
        problem = self._problem(operation, a_layout, b_layout, c_layout, d_layout)
        needs, scratch, key = algorithm[0].data[:3]
        if key != _key(problem):
            raise Rejected(INVALID, "an algorithm that was chosen for another problem")
        if any(x % needs for x in (a, b, c, d)) or not a * b * d:
            raise Rejected(INVALID, f"the algorithm wants addresses that {needs} divides")
        if size < scratch or (size and (not workspace or workspace % 256)):
            raise Rejected(INVALID, f"{size} bytes of workspace at {workspace}")
        scalar = ctypes.c_double if problem["compute"] == 70 else ctypes.c_float
        scales = [scalar.from_address(x).value for x in (alpha, beta)]
        if scales != [1.0, 0.0]:
            raise Rejected(INVALID, f"alpha and beta are {scales}; the stand-in knows 1 and 0")
        vector = problem["vector"]

        def run() -> None:
            if scratch:
                view(workspace, (scratch,), np.uint8).fill(0xEE)
            _compute(problem, a, b, d)

        enqueue(stream or 0, run, a, b, d, workspace if scratch else 0, vector)

    def _problem(self, operation: int, a: int, b: int, c: int, d: int) -> dict[str, Any]:
        """The whole problem; rejected as by the library where its parts do not fit."""
        op = self._object(operation, "operation")
        layouts = [self._layout(x) for x in (a, b, c, d)]
        turns = op.attributes.get(3, 0), op.attributes.get(4, 0)
        sizes = [(x.columns, x.rows) if t else (x.rows, x.columns) for x, t in zip(layouts, (*turns, 0, 0))]
        (m, k), (k2, n) = sizes[:2]
        if k != k2 or sizes[2] != (m, n) or sizes[3] != (m, n):
            raise Rejected(INVALID, f"sizes do not fit: {sizes}")
        factors, results = ({x.type for x in pair} for pair in (layouts[:2], layouts[2:]))
        narrow = factors <= {HALF, BRAIN} and results == {FLOAT} and op.attributes.get(7, NOTHING) == NOTHING
        if len(factors | results) > 1 + narrow or layouts[0].type not in COMPUTE[op.made[0]]:
            raise Rejected(NOT_SUPPORTED, f"types {layouts} in compute type {op.made[0]}")
        if len({x.batch for x in layouts}) > 1:
            raise Rejected(INVALID, "batches of different sizes")
        if layouts[3].batch > 1 and layouts[3].stride < layouts[3].leading * n:
            raise Rejected(INVALID, "the results of a batch overlap")
        return {
            "compute": op.made[0], "turns": turns, "k": k, "a": layouts[0], "b": layouts[1], "d": layouts[3],
            **self._epilogue(op, layouts[3]),
        }  # fmt: skip

    @staticmethod
    def _epilogue(op: Object, d: Layout) -> dict[str, int]:
        epilogue, vector = op.attributes.get(7, NOTHING), op.attributes.get(8, 0)
        if epilogue not in (NOTHING, BIAS, SUMS_OF_A):
            raise Rejected(NOT_SUPPORTED, f"epilogue {epilogue}")
        if epilogue != NOTHING:
            if not vector or vector % np.dtype(TYPES[d.type]).itemsize:
                raise Rejected(INVALID, f"the vector of epilogue {epilogue} is at {vector}")
            if op.attributes.get(26, -1) not in (-1, d.type):
                raise Rejected(NOT_SUPPORTED, "the vector's type is not D's")
        return {"epilogue": epilogue, "vector": vector if epilogue != NOTHING else 0}

    def _layout(self, address: int) -> Layout:
        found = self._object(address, "layout")
        type, rows, columns, leading = found.made
        if type not in TYPES or not 0 < rows < 1 << 31 or not 0 < columns < 1 << 31 or leading < rows:
            raise Rejected(
                INVALID, f"a layout of type {type}, {rows} x {columns}, leading dimension {leading}"
            )
        batch = found.attributes.get(5, 1)
        if batch < 1:
            raise Rejected(INVALID, f"a batch of {batch}")
        return Layout(type, rows, columns, leading, batch, found.attributes.get(6, 0))


def _key(problem: dict[str, Any]) -> int:
    """What an algorithm is chosen for."""
    return hash(tuple(sorted((k, v) for k, v in problem.items() if k != "vector"))) & 0xFFFFFFFF


def _compute(problem: dict[str, Any], a: int, b: int, d: int) -> None:
    left = problem["a"].at(a, problem["turns"][0])
    with np.errstate(all="ignore"):
        product = np.matmul(left, problem["b"].at(b, problem["turns"][1]))
        out: Layout = problem["d"]
        if problem["epilogue"] == NOTHING:
            return _write(out.raw(d), product, out.type)
        vector = view(problem["vector"], (out.rows,), TYPES[out.type])
        if problem["epilogue"] == BIAS:
            bias = bfloat16.loaded(vector) if out.type == BRAIN else vector.astype(np.float64)
            return _write(out.raw(d), product + bias[:, None], out.type)
        _write(out.raw(d), product, out.type)
        _write(vector, left.sum((0, 2)), out.type)


def _write(target: np.ndarray, values: np.ndarray, type: int) -> None:
    target[...] = bfloat16.stored(values) if type == BRAIN else values
