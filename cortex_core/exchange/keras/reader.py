"""Files of Keras of any version, known by what they hold, never by what they are called."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from cortex_compute.errors import SpecError
from cortex_compute.frozen import frozen
from cortex_core.exchange.keras import hdf5
from cortex_core.exchange.keras.config import read_model, version_of
from cortex_core.exchange.keras.counts import counts
from cortex_core.exchange.keras.hdf5 import LONGEST_TEXT, Hdf5
from cortex_core.exchange.keras.legacy import convolutions, modern_weights, padded
from cortex_core.exchange.keras.model import File, Model, Optimizer, Weight, release
from cortex_core.exchange.keras.named import Given, by_name, group_of_weights, named_weights, weights_in
from cortex_core.exchange.keras.numbered import by_number, gathered, is_numbered, numbered_weights
from cortex_core.exchange.keras.strangers import hint

Path_ = str | os.PathLike[str]

ARCHIVE = b"PK\x03\x04"
"""What a file begins with that is a zip archive."""

NUMBERED_SINCE = "2.12.0"
"""The first version that wrote groups by classes and numbers: files of weights alone do not say theirs."""


MOST_PARTS = 1 << 20
"""Of a configuration: each takes a hundred bytes of memory, and the largest models have a tenth of these."""


@frozen
class Weights:
    """The arrays of a file, as they lie there, by the names of its layers.

    ``version`` of Keras and ``backend`` are empty where the file does not say.
    """

    version: str
    backend: str
    layers: Mapping[str, tuple[Weight, ...]]


@frozen
class _Content:
    """What was found in a file: ``config`` is None where it holds weights alone, ``file`` where it holds
    none."""

    config: Mapping[str, Any] | None
    file: Hdf5 | None
    version: str = ""
    backend: str = ""
    training: Mapping[str, Any] | None = None


def read(path: Path_, weights: Path_ | None = None, backend: str = "") -> File:
    """The model of a file: HDF5, an archive, or the JSON of an architecture with the weights in another one.
    Those of another one also win over weights of its own.  ``backend``: what Keras ran on, if the file does
    not say it.

    Nothing is executed, unpacked or unpickled.  Raises `SpecError`.
    """
    content = _opened(path)
    if content.config is None:
        if content.file is not None and group_of_weights(content.file) is None:
            _expect_numbered(content.file)
        raise SpecError(
            f"{path}: holds weights without an architecture; give the JSON of `model.to_json()`, or a "
            f"description, and this file by --weights (in Python weights=)"
        )
    if content.file is None and weights is None:
        told = "holds an architecture without weights; give a file of them by --weights (in Python weights=)"
        raise SpecError(f"{path}: {told}")
    stored = content if weights is None else _opened(weights)
    file = _of_weights(stored, weights or path)
    said = version_of(content.config, content.version) or stored.version
    version = said or (NUMBERED_SINCE if is_numbered(file) else "")
    with _of(path):
        model = read_model(content.config, version)
    wrote, ran_on, guessed = _writer(model, stored, file, content.backend or backend)
    with _of(file.path):
        model = _with_weights(model, file, wrote, ran_on)
    own = content.file if stored is not content and content.file and content.file.arrays else None
    optimizer = _optimizer(content.training, own or file, version)
    return File(version, ran_on, model, content.training, optimizer, own is not None, not said, guessed)


def read_weights(path: Path_) -> Weights:
    """The weights of a file, whatever model they are of."""
    content = _opened(path)
    file = _of_weights(content, path)
    group = group_of_weights(file)
    if group is not None:
        return Weights(content.version, content.backend, named_weights(file, group))
    _expect_numbered(file)
    return Weights(_version_of_numbered(content), content.backend, numbered_weights(file))


def has_state(path: Path_) -> bool:
    """Whether a file holds the state of an optimizer, whatever that is."""
    file = _of_weights(_opened(path), path)
    place = "optimizer/" if group_of_weights(file) is None else "optimizer_weights/"
    return any(name.startswith(place) for name in file.arrays)


def _of_weights(content: _Content, path: Path_) -> Hdf5:
    if content.file is None:
        told = "it holds an architecture, no weights; --weights (in Python weights=) takes a file of weights"
        raise SpecError(f"{path}: {told}")
    return content.file


@contextmanager
def _of(path: Path_) -> Iterator[None]:
    """Names the file in errors that do not."""
    try:
        yield
    except SpecError as error:
        told = str(error)
        raise SpecError(told if told.startswith(str(path)) else f"{path}: {told}", error.problems) from None


# Files


def _opened(path: Path_) -> _Content:
    if Path(path).is_dir():
        raise SpecError(f"{path}: is a folder, such as TensorFlow's SavedModel; save the model as .keras")
    with open(path, "rb") as file:
        start = file.read(64)
    if start.startswith(hdf5.SIGNATURE):
        return _of_hdf5(Hdf5(path))
    if start.startswith(ARCHIVE):
        return _of_archive(path)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        return _of_json(path)
    told = "is neither HDF5, nor an archive of Keras, nor the JSON of an architecture"
    raise SpecError(f"{path}: {told}; {hint(path, start)}")


def _of_hdf5(file: Hdf5) -> _Content:
    config = file.text("", "model_config")
    training = _training(file)
    found = [group_of_weights(file) or "", ""]
    version, backend = (
        next(filter(None, (file.text(g, name) for g in found)), "") for name in ("keras_version", "backend")
    )
    return _Content(
        _json(config, file.path) if config else None,
        file,
        version,
        backend,
        training,
    )


def _training(file: Hdf5) -> Mapping[str, Any] | None:
    """What `compile` was given; empty where the file says it in a way that cannot be read: the model
    predicts without it."""
    text = file.text("", "training_config")
    if text in ("", "null"):
        return None
    try:
        return _json(text, file.path)
    except SpecError:
        return {}


def _of_archive(path: Path_) -> _Content:
    from cortex_core.exchange.keras.archive import read_archive  # and with it zipfile

    found = read_archive(path)
    config = _json(found.config, os.fspath(path))
    metadata = _json(found.metadata, os.fspath(path)) if found.metadata else {}
    version = metadata.get("keras_version")
    told = version if isinstance(version, str) else ""
    return _Content(config, Hdf5(path, found.weights), told, "", _compiled(config))


def _of_json(path: Path_) -> _Content:
    if Path(path).stat().st_size > LONGEST_TEXT:
        raise SpecError(f"{path}: a JSON file of more than {LONGEST_TEXT} bytes is no architecture of Keras")
    config = _json(Path(path).read_bytes(), os.fspath(path))
    if "weight_map" in config:
        raise SpecError(
            f"{path}: lists files that hold a part of the weights each; save them in Keras as one, without "
            f"max_shard_size"
        )
    backend = config.get("backend")
    return _Content(config, None, "", backend if isinstance(backend, str) else "", _compiled(config))


def _compiled(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What `compile` was given; Keras 3 writes an empty object where it never was."""
    found = config.get("compile_config")
    return found if isinstance(found, Mapping) and found else None


def _json(text: str | bytes, path: str) -> Mapping[str, Any]:
    marks = (b"[", b"{", b",") if isinstance(text, bytes) else ("[", "{", ",")
    if sum(map(text.count, marks)) > MOST_PARTS:  # type: ignore[arg-type]
        raise SpecError(f"{path}: a configuration of more than {MOST_PARTS} parts is none of Keras's")
    try:
        found = json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path}: a configuration that is no JSON: {error}") from None
    if not isinstance(found, Mapping):
        told = f"a configuration is a {type(found).__name__}; expected an object, as `model.to_json()` writes"
        raise SpecError(f"{path}: {told}")
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, whose keys are there once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r:.100} is there twice")
    return found


# Weights


def _writer(model: Model, stored: _Content, file: Hdf5, told: str) -> tuple[str, str, bool]:
    """The version and the backend that wrote the weights, and whether the backend is a guess.

    Keras 1 does not write it: ``told`` may, else a model with its channels first is taken for one of Theano.
    """
    wrote = _version_of_numbered(stored) if group_of_weights(file) is None else stored.version
    if stored.backend or release(wrote) >= (2,):
        return wrote, stored.backend, False
    found = [*convolutions(model)]
    if told or not found:
        return wrote, told, False
    first = any(config.get("data_format") == "channels_first" for config in found)
    return wrote, "theano" if first else "tensorflow", True


def _with_weights(model: Model, file: Hdf5, wrote: str, ran_on: str) -> Model:
    """The model with the weights of a file, which lie as those who wrote them had them, whatever wrote the
    model."""
    group = group_of_weights(file)
    if group is None:
        _expect_numbered(file)
        given = by_number(file, model)
    else:
        given = by_name(model, named_weights(file, group), release(wrote) < (2,))
    lacking = [*_lacking(model, given, release(wrote) < (2,))]
    if lacking:
        raise SpecError(
            f"the file has no weights for {len(lacking)} of the layers: {', '.join(lacking):.500}"
        )
    return _filled(model, given, wrote, ran_on)


def _version_of_numbered(content: _Content) -> str:
    return max(NUMBERED_SINCE, content.version, key=release)


def _lacking(model: Model, given: Given, keras_1: bool, start: str = "") -> Iterator[str]:
    """The layers that have weights, but none in the file."""
    for layer in model.layers:
        if layer.model is not None:
            yield from _lacking(layer.model, given, keras_1, f"{start}{layer.name}/")
        elif sum(counts(layer.kind, layer.config, keras_1)) and not given.get(id(layer)):
            yield start + layer.name


def _expect_numbered(file: Hdf5) -> None:
    """Raises `SpecError` for arrays that are no weights of Keras; a file may hold none at all."""
    if not file.arrays or is_numbered(file):
        return
    if file.text("", "format") == "cortex":
        file.refuse("", "is a model of Cortex already; `cortex predict` and `cortex train` take it as it is")
    there = ", ".join(islice(file.arrays, 8))
    told = "does not hold weights as any version of Keras from 1.0 on writes them; its arrays are"
    file.refuse("", f"{told} {there:.200}")


def _filled(model: Model, given: Given, version: str, backend: str) -> Model:
    """The model with the weights of its layers, and their padding, in the form of today."""
    layers = []
    for layer in model.layers:
        if layer.model is not None:
            layers.append(replace(layer, model=_filled(layer.model, given, version, backend)))
        else:
            weights = modern_weights(layer, given.get(id(layer), ()), version, backend)
            of_theano = backend == "theano" and release(version) < (3,)
            config = padded(layer.kind, layer.config) if of_theano else layer.config
            layers.append(replace(layer, weights=weights, config=config))
    return replace(model, layers=tuple(layers))


def _optimizer(training: Mapping[str, Any] | None, file: Hdf5, version: str) -> Optimizer | None:
    """The optimizer, as ``optimizer_config`` (HDF5) or ``optimizer`` (archives) says.

    ``clipnorm`` is the limit of all gradients together in Keras until 2.3, but not in TensorFlow's.
    """
    told: Any = (training or {}).get("optimizer_config") or (training or {}).get("optimizer")
    data = told if isinstance(told, Mapping) else {"class_name": told}
    kind, config = data.get("class_name"), data.get("config")
    if not isinstance(kind, str):
        return None
    weights = weights_in(file, "optimizer_weights") or gathered(file, "optimizer")
    fields = dict(config) if isinstance(config, Mapping) else {}
    if "clipnorm" in fields and release(version) < (2, 4) and not version.endswith("-tf"):
        fields["global_clipnorm"] = fields.pop("clipnorm")
    return Optimizer(kind.rpartition(">")[2], fields, weights)
