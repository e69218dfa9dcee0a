"""What a reduction keeps of the elements that it has met, in C: a number, or a number and its place."""

from __future__ import annotations

import numpy as np

from cortex_compute.frozen import frozen
from cortex_compute.types import DType
from cortex_gpu.prelude import compute

PLACE = """\
struct Total { VALUE value; i64 index; };  // an element and where it stands; -1: none yet
__device__ inline Total nothing() { return Total{0, -1}; }
__device__ inline Total join(Total a, Total b) {  // NaN wins, and of equals the first
  if (a.index < 0 || b.index < 0) return a.index < 0 ? b : a;
  const bool nan_a = a.value != a.value, nan_b = b.value != b.value;
  if (nan_a ? nan_b : a.value == b.value) return a.index < b.index ? a : b;
  return nan_a || (!nan_b && BETTER) ? a : b;
}
__device__ inline i64 finished(Total a, i64 count) { return a.index; }"""


@frozen
class Total:
    """What is kept of the elements met so far, for values and a result of these data types."""

    kind: str
    value: DType
    result: DType

    @property
    def place(self) -> bool:
        return self.kind in ("argmax", "argmin")

    @property
    def type(self) -> str:
        """The C type, but for places."""
        sums = self.kind in ("sum", "mean", "prod")
        return "i64" if sums and self.value.kind != "float" else compute(self.value)

    @property
    def nbytes(self) -> int:
        """Bytes in memory: at least those of the C type."""
        return 16 if self.place else 8

    def of(self, value: str) -> str:
        """The total of one element, number ``r``, with this value."""
        return f"Total{{{value}, r}}" if self.place else f"({self.type}){value}"

    def text(self) -> str:
        """The C type Total, and its functions nothing, join and finished."""
        result = compute(self.result)
        if self.place:
            better = "a.value > b.value" if self.kind == "argmax" else "a.value < b.value"
            return PLACE.replace("VALUE", self.type).replace("BETTER", better)
        nothing, join = self._rule()
        finished = "a"
        if self.kind == "mean":  # integers are added exactly
            wide = "double" if self.type == "i64" else self.type
            finished = f"({wide})a / ({wide})count"
        return "\n".join([
            f"typedef {self.type} Total;",
            f"__device__ inline Total nothing() {{ return {nothing}; }}",
            f"__device__ inline Total join(Total a, Total b) {{ return {join}; }}",
            f"__device__ inline {result} finished(Total a, i64 count) {{ return ({result})({finished}); }}",
        ])  # fmt: skip

    def _rule(self) -> tuple[str, str]:
        """The total of no elements, and how two are joined."""
        if self.kind in ("max", "min"):
            join = "larger(a, b)" if self.kind == "max" else "smaller(a, b)"
            return _extreme(self.value, largest=self.kind == "min"), join
        nothing, sign = ("1", "*") if self.kind == "prod" else ("0", "+")
        return nothing, f"(i64)((u64)a {sign} (u64)b)" if self.type == "i64" else f"a {sign} b"


def _extreme(d: DType, largest: bool) -> str:
    """The largest or the smallest number of a data type, in C."""
    if d.kind == "float":
        return f"({compute(d)})__int_as_float({'0x7f800000' if largest else '0xff800000'})"
    if d.kind == "bool":
        return "true" if largest else "false"
    info = np.iinfo(d.storage)
    if info.min == 0:
        return f"({compute(d)}){info.max if largest else 0}ull"
    return f"({compute(d)}){info.max}ll" if largest else f"({compute(d)})(-{info.max}ll - 1)"
