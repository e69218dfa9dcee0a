"""Numbers of an ONNX file, in it or in a file beside it.  No more is read than the file holds."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.model import Tensor

TYPES = {
    **{name: name.lower() for name in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32")},
    **{"FLOAT": "float32", "DOUBLE": "float64", "FLOAT16": "float16", "BFLOAT16": "bfloat16"},
    **{"UINT64": "uint64", "BOOL": "bool"},
}
"""The types of ONNX that can be read, as NumPy calls them; of bfloat16 it knows nothing."""
TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
MOST_AXES = 32


def tensor(proto: Any, folder: Path) -> Tensor:
    """The numbers of a TensorProto; those of files beside the model lie in ``folder``."""
    return Tensor(tuple(proto.dims), partial(_read, proto, folder))


def type_name(number: int) -> str:
    """FLOAT for 1; of a number that is none of ONNX's types the number."""
    import onnx

    names: dict[int, str] = {value: name for name, value in onnx.TensorProto.DataType.items()}
    return names.get(number, str(number))


def _read(proto: Any, folder: Path) -> np.ndarray:
    import onnx

    name, dims = type_name(proto.data_type), tuple(proto.dims)
    if name not in TYPES:
        raise Unfit(f"the tensor {proto.name!r:.60} is of {name}; supported: {', '.join(TYPES)}")
    if len(dims) > MOST_AXES or any(n < 0 for n in dims):
        raise Unfit(f"the tensor {proto.name!r:.60} has the shape {[*dims][:MOST_AXES]}, which cannot be")
    count = math.prod(dims)
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        return _external(proto, folder, TYPES[name], dims)
    _expect_count(proto, name, count)
    try:
        return _plain(onnx.numpy_helper.to_array(proto), TYPES[name])
    except (TypeError, ValueError) as error:
        raise Unfit(f"the tensor {proto.name!r:.60} cannot be read: {error}") from None


def _expect_count(proto: Any, name: str, count: int) -> None:
    """Raises `Unfit` where there are not as many numbers as the shape says, before memory is taken."""
    if proto.HasField("raw_data"):
        found, size = len(proto.raw_data), 2 if name == "BFLOAT16" else np.dtype(TYPES[name]).itemsize
        if found != count * size:
            raise Unfit(
                f"the tensor {proto.name!r:.60} has {found:,} bytes; its shape {[*proto.dims]} of {name} "
                f"needs {count * size:,}"
            )
        return
    found = max(len(getattr(proto, field)) for field in TYPED)
    if found != count:
        told = f"{found:,} numbers; its shape {[*proto.dims]} needs {count:,}"
        raise Unfit(f"the tensor {proto.name!r:.60} has {told}")


def _plain(array: np.ndarray, dtype: str) -> np.ndarray:
    """What NumPy knows; bfloat16 becomes float32."""
    return array.astype(np.float32) if dtype == "bfloat16" else array


def _external(proto: Any, folder: Path, dtype: str, dims: tuple[int, ...]) -> np.ndarray:
    """Numbers of a file in the folder of the model, or below it."""
    told = {str(entry.key): str(entry.value) for entry in proto.external_data}
    path = place(folder, told.get("location", ""), proto.name)
    size = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
    wanted = math.prod(dims) * size
    offset, length = _number(told, "offset", 0, proto.name), _number(told, "length", wanted, proto.name)
    held = path.stat().st_size
    if length != wanted or offset + wanted > held:
        raise Unfit(
            f"the tensor {proto.name!r:.60} lies at {offset:,} to {offset + length:,} of {path.name}, which "
            f"has {held:,} bytes; its shape {[*dims]} needs {wanted:,}"
        )
    stored = "<u2" if dtype == "bfloat16" else np.dtype(dtype).newbyteorder("<")
    found = np.fromfile(path, stored, math.prod(dims), offset=offset).reshape(dims)
    if dtype == "bfloat16":
        return (found.astype(np.uint32) << 16).view(np.float32)
    return found.astype(np.dtype(dtype), copy=False)


def place(folder: Path, location: str, name: str) -> Path:
    """The file of external data.  Raises `Unfit` unless it is a plain file in the folder or below it."""
    told = f"the tensor {name!r:.60} lies in {location!r:.80}"
    parts = PurePosixPath(location).parts
    outside = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor or "\\" in location
    if not parts or outside or ".." in parts or "\0" in location:
        raise Unfit(f"{told}; supported are files in the folder of the model, and in folders of it")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise Unfit(f"{told}, where {part!r:.60} is a link; put the file itself there")
    if not os.path.isfile(path):
        raise Unfit(f"{told}, which is no file beside the model; get it too")
    return path


def _number(told: Mapping[str, str], key: str, default: int, name: str) -> int:
    text = told.get(key, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Unfit(f"the tensor {name!r:.60} has the {key} {text!r:.40}; expected a whole number")
    return int(text)
