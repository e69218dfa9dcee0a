"""One file, one state: ``*.cortex`` is HDF5, in the canonical layout, by name.

::

    /                       attributes: format "cortex", version 1, kind "model" or "run"
    /description            canonical JSON (UTF-8 bytes), attributes sha256: the description's hash, and home:
                            the folder of its file, where data are looked for first
    /parameters/LAYER/NAME  float32, as `network.parameters` shows it
    /variables/LAYER/NAME   running statistics
    /encoding               JSON: what was learned from the data; only where train.data is a reader
    /origin                 JSON, where the parameters were imported: file, proof, and maybe notes
    /goes_on                JSON, where the state of an optimiser was imported too: its kind and the step;
                            then there are /moments, as in a run
    a run has besides:
    /moments/MOMENT/LAYER/NAME, /random_key (seed, runs), /sums/...
    /run                    JSON: step, epoch, batch, history, ...

Every dataset bears a crc32 of its bytes.  Reading takes no memory before the declared shapes have been
compared with those that the description needs, follows no link, and unpickles nothing.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np

from cortex_compute.errors import CheckpointError, DataError, SpecError
from cortex_compute.frozen import frozen
from cortex_compute.types import TensorType, dtype, uint8
from cortex_core.declared import KEY, declare, is_carried
from cortex_core.layers.scope import Parameter
from cortex_core.network import Network
from cortex_core.training.examples import Encoding, is_reader
from cortex_core.training.files import write_atomically

FORMAT = "cortex"
VERSION = 1
TEXT_LIMIT = 1 << 26  # bytes of a description, or of a run's progress


Place = tuple[str, str]  # a state or parameter of the store by its name, and which of its moments


@frozen
class Header:
    """What a file says of itself: the canonical description, a run's progress (None in a model file), and the
    state of the encoding of its data, where there is one.  ``home`` is the folder of its description then.
    ``origin``: see `Network`."""

    path: Path
    canonical: dict[str, Any]
    run: dict[str, Any] | None
    encoding: dict[str, Any] | None
    home: str
    origin: dict[str, Any] | None


def save(path: str | Path, network: Network) -> None:
    """Writes description, parameters and running statistics, whole or not at all."""
    write_atomically(Path(path), image(network))


def image(network: Network) -> bytes:
    """What `save` writes."""
    places = _model_places(network)
    return _image(network, places | _moments(network) if network.goes_on else places, None)


def save_state(path: str | Path, network: Network, run: Mapping[str, Any], sums: Sequence[str]) -> None:
    """Writes everything that a run needs to go on: besides the model the moments, the sums of the epoch
    (states of these names) and ``run`` (plain data)."""
    write_atomically(Path(path), _image(network, _run_places(network, sums), run))


def load(path: str | Path) -> Network:
    """The network of a .cortex file, or of the folder of a run (its model.cortex).  Raises `CheckpointError`
    where the file is damaged or not of this version."""
    path = Path(path) / "model.cortex" if Path(path).is_dir() else Path(path)
    with _opened(path) as file:
        header = _header(file, path)
        description = describe(header)
        encoding = encoding_of(header, description)
        declared = declare(description)
        states = {
            _home(name, isinstance(d.declaration, Parameter)): (name, d.type)
            for name, d in declared[0].items()
            if not is_carried(d)
        }
        arrays = _arrays(file, states)
        network = Network.blank(description, declared)
        network.encoding, network.origin = encoding, header.origin
        if "goes_on" in file:
            _go_on(file, network, _json(file, "goes_on", path))
    for name, array in arrays.items():
        network.store.write(name, array)
    return network


def _go_on(file: Any, network: Network, told: Mapping[str, Any]) -> None:
    """Puts the state of an optimiser into a network; one that is not the description's is left out."""
    kind, step = told.get("optimizer"), told.get("step")
    if kind != network.training.optimizer.kind or not isinstance(step, int) or step < 0:
        return
    places = _moments(network)
    types = {where: (where, network.slots[name].type) for where, (name, _) in places.items()}
    for where, array in _arrays(file, types).items():
        name, moment = places[where]
        network.store.write(name, array, moment)
    network.goes_on, network.step = kind, step


def restore(path: str | Path, network: Network, sums: Sequence[str]) -> dict[str, Any]:
    """Puts the state of a run back into ``network``, whose training program is compiled; returns the run's
    progress.

    Raises `CheckpointError`, and leaves the network as it is, where the file is damaged or of another
    network.
    """
    found = header(path)
    if found.run is None:
        raise CheckpointError(f"{path} is a model, which cannot go on; resume the run from its last.cortex")
    _restore(Path(path), network, _run_places(network, sums))
    network.origin = found.origin
    return found.run


def restore_model(path: str | Path, network: Network) -> None:
    """Puts parameters and running statistics into a network of the same description; errors as for
    `restore`."""
    _restore(Path(path), network, _model_places(network))


def _restore(path: Path, network: Network, places: Mapping[str, Place]) -> None:
    store = network.store
    with _opened(path) as file:
        same_network(_header(file, path), network.description.canonical)
        memory = {where: store.array(*place) for where, place in places.items()}
        wanted = {where: (where, TensorType(a.shape, dtype(a.dtype))) for where, a in memory.items()}
        arrays = _arrays(file, wanted)
    with store.lock:
        for where, array in arrays.items():
            name, moment = places[where]
            store.write(name, array, moment)


def header(path: str | Path) -> Header:
    """What a file says of itself, without its arrays."""
    with _opened(Path(path)) as file:
        return _header(file, Path(path))


def describe(header: Header) -> Any:
    """The description in a file, read and checked."""
    from cortex_core.spec import read

    try:
        return replace(read(header.canonical), home=header.home)
    except SpecError as error:
        raise CheckpointError(
            f"{header.path}: its description is not valid here: {error}. If it names layers of your own, "
            "make them known first (--use FILE.py)"
        ) from error


def encoding_of(header: Header, description: Any) -> Encoding | None:
    """What the network of a file knows of its data."""
    if header.encoding is None:
        return None
    reader = description.train.data if description.train is not None else None
    if reader is None or not is_reader(reader):
        raise CheckpointError(f"{header.path}: it holds an encoding, but its description names no reader")
    try:
        return cast(Encoding, reader.restore(header.encoding))
    except DataError as error:
        raise CheckpointError(f"{header.path}: the encoding of its data is damaged: {error}") from error


def same_network(header: Header, canonical: Mapping[str, Any]) -> None:
    """Raises `CheckpointError` where the file's network is not the one of a description; how it was trained
    may differ."""
    for part in ("inputs", "layers", "loss", "outputs"):
        there, here = header.canonical.get(part), canonical.get(part)
        if there != here:
            what = _difference(part, there, here)
            raise CheckpointError(f"{header.path} belongs to another network: {what}")


def _difference(path: str, there: Any, here: Any) -> str:
    """The first place where two pieces of plain data differ."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for k in [*there, *(k for k in here if k not in there)]:
            if there.get(k) != here.get(k):
                return _difference(f"{path}.{k}", there.get(k), here.get(k))
    if isinstance(there, list) and isinstance(here, list):
        for i, (a, b) in enumerate(zip(there, here)):
            if a != b:
                return _difference(f"{path}[{i}]", a, b)
        return f"{path} has {len(there)} entries there, {len(here)} here"
    return f"{path} is {json.dumps(there)[:200]} there, {json.dumps(here)[:200]} here"


def _home(name: str, parameter: bool) -> str:
    return f"{'parameters' if parameter else 'variables'}/{name}"


def _model_places(network: Network) -> dict[str, Place]:
    """For each dataset of a model its name in the network's store."""
    parameters: dict[str, Place] = {_home(name, True): (name, "") for name in network.parameters}
    return parameters | {_home(name, False): (name, "") for name in network.variables}


def _run_places(network: Network, sums: Sequence[str]) -> dict[str, Place]:
    """For each dataset of a run its name in the store: those of the model, the random key, the moments, the
    sums of the epoch."""
    places = {**_model_places(network), KEY: (KEY, ""), **_moments(network)}
    return places | {f"sums/{name}": (name, "") for name in sums}


def _moments(network: Network) -> dict[str, Place]:
    trained = [name for name, slot in network.slots.items() if slot.segment.trainable]
    moments = network.training.optimizer.state
    return {f"moments/{moment}/{name}": (name, moment) for moment in moments for name in trained}


def _image(network: Network, places: Mapping[str, Place], run: Mapping[str, Any] | None) -> bytes:
    # The file is built in memory and written by us: HDF5 cannot recover from a full disk when it closes.
    import h5py

    description, content = network.description, BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs.update(format=FORMAT, version=VERSION, kind="model" if run is None else "run")
        _put_json(file, "description", description.canonical)
        file["description"].attrs.update(sha256=description.hash, home=description.home)
        if network.encoding is not None:
            _put_json(file, "encoding", network.encoding.state())
        if network.origin is not None:
            _put_json(file, "origin", network.origin)
        if run is None and network.goes_on:
            _put_json(file, "goes_on", {"optimizer": network.goes_on, "step": network.step})
        if run is not None:
            _put_json(file, "run", run)
        with network.store.lock:
            for where, place in places.items():
                _put(file, where, network.store.array(*place))
    return content.getvalue()  # without a copy


def _put_json(file: Any, where: str, data: Mapping[str, Any]) -> None:
    _put(file, where, np.frombuffer(_text(where, data), np.uint8))


def _text(where: str, data: Mapping[str, Any]) -> bytes:
    """The JSON of what a file shall hold, no longer than what is read again."""
    text = json.dumps(data).encode()
    if len(text) > TEXT_LIMIT:
        sizes = {name: len(json.dumps(part)) for name, part in data.items()}
        largest = max(sizes, key=lambda name: sizes[name])
        raise CheckpointError(
            f"the {where} of this network is {len(text):,} bytes as JSON, of which '{largest}' takes "
            f"{sizes[largest]:,}; a .cortex file holds {TEXT_LIMIT:,}. Leave columns of long texts out, or "
            "take a smaller vocabulary"
        )
    return text


def check_texts(network: Network) -> None:
    """Raises `CheckpointError` where a file could not hold the description, or what was learned of the
    data."""
    _text("description", network.description.canonical)
    if network.encoding is not None:
        _text("encoding", network.encoding.state())


def _put(file: Any, where: str, array: np.ndarray) -> None:
    array = np.asarray(array, order="C")
    file.create_dataset(where, data=array).attrs["crc32"] = zlib.crc32(array.data)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An open HDF5 file; whatever the library cannot read becomes a `CheckpointError`."""
    import h5py

    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix.lower() in (".yaml", ".yml"):
        raise CheckpointError(f"{path}: this is a description; train it first, and give its run")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        _expect_of_ours(path)
        what = "it is cut short or damaged" if h5py.is_hdf5(path) else "it is no .cortex file, or cut short"
        advice = "take an older checkpoint, or train again"
        raise CheckpointError(f"{path}: {what} ({error}); {advice}") from error


def _expect_of_ours(path: Path) -> None:
    from cortex_core.exchange.recognised import advice

    if told := advice(path):
        raise CheckpointError(f"{path}: {told}")


def _header(file: Any, path: Path) -> Header:
    form, version = file.attrs.get("format"), file.attrs.get("version")
    if form != FORMAT:
        _expect_of_ours(path)
        raise CheckpointError(f"{path}: an HDF5 file, but no .cortex file")
    if not isinstance(version, np.integer) or version != VERSION:
        raise CheckpointError(
            f"{path}: written in version {str(version)[:20]} of the format, this program reads version "
            f"{VERSION}; use the cortex that wrote it"
        )
    canonical = _json(file, "description", path)
    run = _json(file, "run", path) if file.attrs.get("kind") == "run" else None
    encoding = _json(file, "encoding", path) if "encoding" in file else None
    home = file["description"].attrs.get("home", ".")
    origin = _json(file, "origin", path) if "origin" in file else None
    return Header(path, canonical, run, encoding, home if isinstance(home, str) else ".", origin)


def _json(file: Any, where: str, path: Path) -> dict[str, Any]:
    dataset = _dataset(file, where)
    if dataset.ndim != 1 or dataset.shape[0] > TEXT_LIMIT:
        raise CheckpointError(f"{path}: {where} has shape {dataset.shape}, which no .cortex file has")
    content = _read(dataset, where, TensorType(dataset.shape, uint8))
    try:
        data = json.loads(content.tobytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {where} is no JSON ({error})") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: {where} is no mapping")
    return data


def _dataset(file: Any, where: str) -> Any:
    """A dataset by its path, along real links only (a soft or external one could lead anywhere)."""
    import h5py

    group, parts = file, where.split("/")
    for i, part in enumerate(parts):
        link = group.get(part, getlink=True)
        found = group.get(part) if isinstance(link, h5py.HardLink) else None
        if not isinstance(found, h5py.Dataset if i == len(parts) - 1 else h5py.Group):
            raise CheckpointError(
                f"{file.filename}: {where} is missing; the file is damaged, or of another network"
            )
        group = found
    return group


def _arrays(file: Any, wanted: Mapping[str, tuple[str, TensorType]]) -> dict[str, np.ndarray]:
    """The datasets ``{where: (name, type)}`` as {name: array}: first all are checked, then memory is
    taken."""
    datasets = {where: _dataset(file, where) for where in wanted}
    for where, (_, type) in wanted.items():
        _check(datasets[where], where, type)
    return {name: _read(datasets[where], where, type) for where, (name, type) in wanted.items()}


def _check(dataset: Any, where: str, type: TensorType) -> None:
    """A declared shape is worth nothing unless the bytes are there: plain storage, as much as the shape
    needs."""
    path = dataset.file.filename
    if dataset.shape != type.shape:
        raise CheckpointError(
            f"{path}: {where} has shape {dataset.shape}, the network needs {type.shape}; "
            "the file is of another network"
        )
    if dataset.dtype != type.dtype.storage:
        raise CheckpointError(f"{path}: {where} holds {dataset.dtype}, the network needs {type.dtype}")
    plain = dataset.chunks is None and not dataset.external and not dataset.is_virtual
    if not plain or dataset.id.get_storage_size() != type.nbytes:
        raise CheckpointError(f"{path}: {where} does not hold its {type.nbytes} bytes; the file is damaged")


def _read(dataset: Any, where: str, type: TensorType) -> np.ndarray:
    _check(dataset, where, type)
    array = np.empty(type.shape, type.dtype.storage)
    if array.size:
        dataset.read_direct(array)
    if zlib.crc32(array.data) != dataset.attrs.get("crc32"):
        raise CheckpointError(
            f"{dataset.file.filename}: the bytes of {where} have changed since they were written; "
            "take an older checkpoint"
        )
    return array
