"""Files as Keras 1 to 3 write them, made with h5py and zipfile alone."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Arrays = Sequence[tuple[str, np.ndarray]]


def dense(name: str, units: int, **config: Any) -> dict[str, Any]:
    return {"class_name": "Dense", "config": {"name": name, "units": units, "activation": "linear", **config}}


def sequential(*layers: Mapping[str, Any], width: int = 3, name: str = "model") -> dict[str, Any]:
    """A configuration of Keras 2."""
    first = dict(layers[0], config={**layers[0]["config"], "batch_input_shape": [None, width]})
    return {"class_name": "Sequential", "config": {"name": name, "layers": [first, *layers[1:]]}}


def numbers(*shape: int, start: int = 0) -> np.ndarray:
    """Numbers that tell where they were."""
    return np.arange(start, start + int(np.prod(shape)), dtype=np.float32).reshape(shape)


def weights_of(name: str, width: int, units: int, start: int = 0) -> Arrays:
    """Those of a Dense, under names of Keras 2."""
    return [
        (f"{name}/kernel:0", numbers(width, units, start=start)),
        (f"{name}/bias:0", numbers(units, start=start + 100)),
    ]


def save_named(
    path: Path,
    groups: Mapping[str, Arrays],
    config: Any = None,
    version: str = "2.4.0",
    split: int = 0,
    **attributes: Any,
) -> Path:
    """An HDF5 file with a group for each layer; without ``config`` of weights alone.

    ``split``: lists of names stand in attributes of at most so many, as Keras does with long ones.
    """
    with h5py.File(path, "w") as file:
        root = file if config is None else file.create_group("model_weights")
        _names(root, "layer_names", [*groups], split)
        for place in {file, root}:
            if version:
                place.attrs["keras_version"] = version.encode()
                place.attrs["backend"] = b"tensorflow"
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        for name, value in attributes.items():
            file.attrs[name] = json.dumps(value)
        for name, arrays in groups.items():
            group = root.require_group(name)
            _names(group, "weight_names", [n for n, _ in arrays], split)
            for inner, array in arrays:
                group[inner] = array
    return path


def _names(group: Any, name: str, names: Sequence[str], split: int) -> None:
    if not split:
        group.attrs[name] = [n.encode() for n in names]
        return
    for number in range(0, len(names), split):
        group.attrs[f"{name}{number // split}"] = [n.encode() for n in names[number : number + split]]


def numbered_bytes(arrays: Mapping[str, np.ndarray], separator: str = "/") -> bytes:
    """The HDF5 file of an archive: ``{"layers/dense/vars/0": ...}``.

    With ``separator`` a backslash, as on Windows: each group stands at the top, under its whole path.
    """
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for path, array in arrays.items():
            group, _, inside = path.rpartition("/vars/")
            file.require_group(group.replace("/", separator)).require_group("vars")[inside] = array
    return content.getvalue()


def save_archive(
    path: Path, config: Any, weights: bytes, version: str = "3.0.5", packing: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights)
    return path


def save_numbered(path: Path, config: Any, arrays: Mapping[str, np.ndarray], **how: Any) -> Path:
    """An archive with weights by number."""
    separator = how.pop("separator", "/")
    return save_archive(path, config, numbered_bytes(arrays, separator), **how)
