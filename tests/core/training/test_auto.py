"""What a description leaves to its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DataError, SpecError
from cortex_core.spec import read
from tests.core.training.networks import CLASSES, blobs, description
from tests.core.training.points import telling


def auto(data: Any, **inputs: Any) -> dict[str, Any]:
    spec = description(epochs=1, **({"data": data} if data else {}))
    return {**spec, "inputs": inputs or {"x": "auto"}}


def written(run: Any) -> Any:
    """The description beside a run, as it reads back."""
    return read(run.path / "description.yaml")


def test_arrays_tell_shapes_and_types(tmp_path: Path) -> None:
    run = cortex.train(auto(None), blobs(), out=tmp_path / "run", progress=False)
    (x,) = run.network.description.inputs
    assert (x.shape, x.dtype) == ((4,), "float32")
    assert run.network.parameters["hidden/kernel"].shape == (4, 8)
    assert run.network.description.canonical["inputs"] == {"x": {"shape": [4], "dtype": "float32"}}
    assert written(run).hash == run.network.description.hash == run.summary["hash"]
    given = cortex.train(description(epochs=1), blobs(), out=tmp_path / "given", progress=False)
    for name, array in given.network.parameters.items():
        np.testing.assert_array_equal(run.network.parameters[name], array)


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    spec = auto(None, word="auto")
    spec["layers"] = [{"embedding": {"tokens": 5, "units": 3}}, {"dense": {"units": CLASSES, "id": "out"}}]
    data = {"word": np.arange(20, dtype=np.uint8) % 5, "label": np.arange(20) % 3}
    run = cortex.train(spec, data, out=tmp_path / "run", progress=False)
    assert [(x.shape, x.dtype) for x in written(run).inputs] == [((), "int64")]


def test_only_the_shape_is_left_to_the_data() -> None:
    spec = {
        "inputs": {"features": {"shape": "auto", "dtype": "float32"}},
        "layers": [{"dense": {"units": 3, "id": "kind"}}],
        "loss": {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
        "train": {"data": "iris"},
    }
    (x,) = cortex.network(spec).description.inputs
    assert (x.shape, x.dtype) == ((4,), "float32")


def test_a_reader_tells_them_after_learning(points: Path) -> None:
    assert cortex.network(telling()).description.inputs[0].shape == (1,)
    run = cortex.train(telling(), out="run", progress=False)
    (x,) = written(run).inputs
    assert (x.shape, x.dtype) == ((1,), "float32")
    again = cortex.train(points / "run" / "description.yaml", out="again", progress=False)
    for name, array in run.network.parameters.items():
        np.testing.assert_array_equal(again.network.parameters[name], array)


@pytest.mark.parametrize("inputs", [{"x": "auto"}, {"x": {"shape": "auto", "dtype": "int64"}}, {"x": [4]}])
def test_canonical_data_reads_back(inputs: dict[str, Any]) -> None:
    first = read(auto(None, **inputs))
    again = read(first.canonical)
    assert again.canonical == first.canonical
    assert again.hash == first.hash
    assert (first.inputs[0].shape is None) == (inputs != {"x": [4]})


def test_auto_is_no_part_of_the_hash_once_it_is_known(points: Path) -> None:
    plain = {**telling(), "inputs": {"x": [1]}}
    assert cortex.network(telling()).description.hash == read(plain).hash != read(telling()).hash


def test_without_data_its_place_is_named(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text("inputs:\n  x: auto\nlayers: [{dense: 3}]\n")
    with pytest.raises(SpecError, match=r"net\.yaml:2:3: inputs\.x: 'x' is auto: .*name them in train\.data"):
        cortex.network(file)
    (problem,) = cortex.check(file).problems
    assert (problem.place.line, problem.place.column) == (2, 3)
    assert str(problem).endswith(
        "inputs.x: 'x' is auto, and no data tell its shape: "
        "expected train.data with a stream of this name, or the shape"
    )
    with pytest.raises(DataError, match="no data: give data="):
        cortex.train({**telling(None)}, out=tmp_path / "run", progress=False)


def test_a_stream_that_does_not_exist(points: Path) -> None:
    spec = {**telling(), "inputs": {"z": "auto"}}
    with pytest.raises(DataError, match="'z' is no stream of the data; it has x, y, kind"):
        cortex.network(spec)
    (problem,) = cortex.check(spec).problems
    assert str(problem).startswith("inputs.z: 'z' is no stream of the data")
    spec["inputs"] = {"z": {"shape": "auto", "dtype": "int64"}}
    (problem,) = cortex.check(spec).problems
    assert str(problem).startswith("inputs.z: 'z' is auto, and no data tell its shape")
    with pytest.raises(DataError, match="input 'pixels' is no stream"):
        cortex.train(auto("digits", pixels="auto"), out="run", progress=False)
    assert not (points / "run").exists()


def test_what_auto_is_not() -> None:
    with pytest.raises(SpecError, match=r"inputs\.x.*Did you mean 'auto'"):
        read({"inputs": {"x": "atuo"}, "layers": ["relu"]})
    with pytest.raises(SpecError, match="'auto' is text: expected a whole number"):
        read({"inputs": {"x": ["auto", 3]}, "layers": ["relu"]})
