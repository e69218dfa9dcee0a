"""What a recording proves: differences, the first layer that departs, and recordings that are none."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DataError
from cortex_core.exchange.keras.imported import Imported, Part
from cortex_core.exchange.keras.proof import PROVED, compare, differences, unproved
from cortex_core.exchange.keras.recording import Recording
from cortex_core.exchange.keras.value import Value

TWO = {
    "cortex": 1,
    "name": "two",
    "inputs": {"x": [3]},
    "layers": [{"dense": {"units": 4, "id": "first"}}, {"relu": {"id": "bend"}}, {"dense": {"units": 2}}],
}


@pytest.fixture
def imported() -> Imported:
    """Two dense layers; the activation of the first one stands beside it, as a reader makes it."""
    network = cortex.network(TWO, seed=3)
    values = {id_: Value(id_, network.types[id_].shape[1:]) for id_ in ("x", "bend", "dense")}
    named = {"input_1": values["x"]}
    parts = [Part("a", "Dense", 0, 0, values["bend"]), Part("b", "Dense", 0, 0, values["dense"])]
    return Imported("m.h5", network, "", named, parts)


def recorded(imported: Imported, examples: int = 5) -> dict[str, np.ndarray]:
    """What the layers give by NumPy."""
    x = np.random.default_rng(0).normal(size=(examples, 3)).astype(np.float32)
    p = imported.network.parameters
    a = np.maximum(x @ p["first/kernel"] + p["first/bias"], 0)
    return {
        "input/input_1": x,
        "layer/a/0/0": a,
        "layer/b/0/0": a @ p["dense/kernel"] + p["dense/bias"],
        "about": np.array('{"keras": "2.1.6", "backend": "theano", "left_out": []}'),
    }


def written(path: Path, arrays: dict[str, np.ndarray]) -> Recording:
    np.savez(path, **arrays)
    return Recording(path)


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    return tmp_path / "recording.npz"


def test_what_agrees_is_proved(imported: Imported, npz: Path) -> None:
    proof = compare(imported, written(npz, recorded(imported)))
    assert [(row.name, row.kind, row.shape, row.verdict) for row in proof.rows] == [
        ("a", "Dense", (4,), "agrees"),
        ("b", "Dense", (2,), "agrees"),
        ("prediction b", "Dense", (2,), "agrees"),
    ]
    assert proof.first is None
    assert str(proof).startswith("proved: 2 of 2 layers within ")
    data = proof.as_data()
    assert (data["verdict"], data["recorded_by"], data["examples"]) == ("proved", "2.1.6 on theano", 5)
    assert data["layers"][0]["shape"] == [4]


def test_the_first_layer_that_departs_is_named(imported: Imported, npz: Path) -> None:
    arrays = recorded(imported)
    arrays["layer/a/0/0"][2, 1] += 0.25
    arrays["layer/b/0/0"] += 1
    proof = compare(imported, written(npz, arrays))
    assert proof.first is not None
    assert proof.first.name == "a"
    assert proof.first.largest == pytest.approx(0.25, rel=1e-4)
    assert proof.first.mean == pytest.approx(0.25 / 20, rel=1e-4)
    assert proof.first.relative == pytest.approx(0.25 / np.abs(arrays["layer/a/0/0"]).max(), rel=1e-4)
    assert [row.verdict for row in proof.rows] == ["departs"] * 3
    assert str(proof) == "departs from Keras, first at a"


def test_infinity_of_one_alone_is_told(imported: Imported, npz: Path) -> None:
    arrays = recorded(imported)
    arrays["layer/a/0/0"][2, 1] = np.inf
    proof = compare(imported, written(npz, arrays))
    assert str(proof) == "departs from Keras, first at a, where the recording holds NaN or infinity"
    assert [row["not_finite"] for row in proof.as_data()["layers"]] == ["the recording", "", ""]


def test_infinity_agrees_with_itself(npz: Path) -> None:
    """What 0 divides is infinite there and here; with the other sign it would be something else."""
    spec = {
        "cortex": 1,
        "name": "it",
        "inputs": {"x": [2]},
        "layers": [{"power": {"exponent": -1, "id": "r"}}],
    }
    parts = [Part("r", "ops.Reciprocal", 0, 0, Value("r", (2,)))]
    imported = Imported("m.h5", cortex.network(spec), "", {"x": Value("x", (2,))}, parts)
    arrays = {"input/x": np.array([[0, 4]], np.float32), "layer/r/0/0": np.array([[np.inf, 0.25]])}
    assert compare(imported, written(npz, arrays)).verdict == "proved"
    arrays["layer/r/0/0"] *= [-1, 1]
    assert compare(imported, written(npz, arrays)).verdict == "departs"


@pytest.mark.parametrize(
    ("key", "number", "told"),
    [
        ("layer/a/0/0", np.nan, "'layer/a/0/0' holds NaN, with which nothing can be compared; give the "),
        ("layer/b/0/0", np.nan, "'layer/b/0/0' holds NaN"),
        ("input/input_1", np.nan, "'input/input_1' holds NaN"),
        ("input/input_1", -np.inf, "'input/input_1' holds infinity, and what layers give for it proves "),
        ("input/input_1", 1e39, "'input/input_1' holds infinity"),  # which it is in float32
    ],
)
def test_what_nothing_can_be_compared_with_is_refused(
    imported: Imported, npz: Path, key: str, number: float, told: str
) -> None:
    arrays = recorded(imported)
    arrays[key] = arrays[key].astype(np.float64)
    arrays[key][2, 1] = number
    with pytest.raises(DataError, match=f"recording.npz: {told}"):
        compare(imported, written(npz, arrays))


TOKENS = {
    "cortex": 1,
    "name": "words",
    "inputs": {"x": {"shape": [3], "dtype": "int64"}},
    "layers": [{"embedding": {"tokens": 5, "units": 2, "id": "e"}}],
}


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (np.inf, "holds infinity, and what layers give for it proves nothing; give the script"),
        (-np.inf, "holds infinity"),
        (3.9, "holds 3.9, but the model takes int64 there; give the script of `cortex keras-recorder` other"),
        (1e30, r"holds 1e\+30, but the model takes int64"),
        (3, ""),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tokens_that_were_recorded_as_numbers(npz: Path, dtype: Any, number: float, told: str) -> None:
    """Whole ones are the tokens; what a cast would make of others is not what was recorded."""
    network = cortex.network(TOKENS)
    value = Value("x", (3,), "int64")
    found = Imported("m.h5", network, "", {"x": value}, [Part("e", "Embedding", 0, 0, Value("e", (3, 2)))])
    tokens = np.array([[0, 1, 2], [1, 2, 3]])
    arrays = {"input/x": tokens.astype(dtype), "layer/e/0/0": network.parameters["e/table"][tokens]}
    arrays["input/x"][1, 2] = number
    if not told:
        assert compare(found, written(npz, arrays)).verdict == "proved"
        return
    with pytest.raises(DataError, match=f"recording.npz: 'input/x' {told}"):
        compare(found, written(npz, arrays))


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_the_network_gives_that_is_not_finite_is_told(
    imported: Imported, npz: Path, number: float
) -> None:
    arrays = recorded(imported)
    imported.network.parameters["dense/bias"] = np.array([number, 0], np.float32)
    here = compare(imported, written(npz, arrays))
    assert str(here) == "departs from Keras, first at b, where the network holds NaN or infinity"


def test_the_tolerance_is_relative_to_the_largest_value(imported: Imported, npz: Path) -> None:
    arrays = recorded(imported)
    scale = np.abs(arrays["layer/b/0/0"]).max()
    arrays["layer/b/0/0"][0, 0] += 1e-3 * scale
    recording = written(npz, arrays)
    assert compare(imported, recording, 2e-3).first is None
    departing = compare(imported, recording, 0.5e-3).first
    assert departing is not None
    assert departing.name == "b"


def test_what_no_input_changes_is_told(imported: Imported, npz: Path) -> None:
    arrays = recorded(imported)
    alike = {key: np.repeat(a[:1], 5, axis=0) if a.ndim else a for key, a in arrays.items()}
    proof = compare(imported, written(npz, arrays))
    assert (proof.same, "the same" in str(proof)) == ((), False)
    proof = compare(imported, written(npz, alike))
    assert proof.same == ("a", "b")
    assert str(proof).endswith(" examples; 2 gave the same for all examples")


def test_channels_that_are_first_there(npz: Path) -> None:
    image = {"cortex": 1, "name": "image", "inputs": {"x": [5, 4, 2]}, "layers": [{"relu": {"id": "r"}}]}
    network = cortex.network(image)
    x = np.random.default_rng(0).normal(size=(3, 2, 5, 4)).astype(np.float32)
    value, there = Value("r", (2, 5, 4), moved=True), Value("x", (5, 4, 2))
    imported = Imported("m.h5", network, "", {"x": there}, [Part("r", "ReLU", 0, 0, value)])
    arrays = {"input/x": np.moveaxis(x, 1, -1), "layer/r/0/0": np.maximum(x, 0)}
    assert compare(imported, written(npz, arrays)).first is None


def test_without_a_recording_nothing_is_proved(imported: Imported) -> None:
    proof = unproved(imported)
    assert str(proof) == "unproved"
    assert {row.verdict for row in proof.rows} == {"unproved"}
    data = proof.as_data()
    told = [data[key] for key in ("verdict", "layers_compared", "layers_in_all", "examples")]
    assert told == ["unproved", 0, 2, 0]


@pytest.mark.parametrize(
    ("ours", "theirs", "wanted"),
    [
        ([1.0, 2.0], [1.0, 2.5], (0.5, 0.25, 0.2)),
        ([0.0, 0.0], [0.0, 0.0], (0.0, 0.0, 0.0)),
        ([1.0, 0.0], [0.0, 0.0], (1.0, 0.5, np.inf)),
        ([np.inf, 1.0], [np.inf, 1.0], (0.0, 0.0, 0.0)),
        ([-np.inf, 4.0], [-np.inf, 2.0], (2.0, 1.0, 1.0)),
        ([np.nan, 1.0], [1.0, 1.0], (np.inf, np.inf, np.inf)),
        ([np.inf, 1.0], [-np.inf, 1.0], (np.inf, np.inf, np.inf)),
    ],
)
def test_differences(ours: list[float], theirs: list[float], wanted: tuple[float, ...]) -> None:
    assert differences(np.array(ours), np.array(theirs)) == pytest.approx(wanted)


def change(arrays: dict[str, np.ndarray], gone: str = "", **new: Any) -> dict[str, np.ndarray]:
    kept = {key: array for key, array in arrays.items() if key != gone}
    return kept | {key.replace("__", "/"): np.asarray(array) for key, array in new.items()}


@pytest.mark.parametrize(
    ("gone", "new", "told"),
    [
        ("layer/b/0/0", {}, "an incomplete recording, or one of another model: it lacks b"),
        ("", {"layer__c__0__0": np.zeros((5, 2))}, "a recording of another model: the model has no c"),
        ("", {"layer__a__1__0": np.zeros((5, 2))}, r"the model has no a \(call 2\)"),
        ("", {"layer__b__0__0": np.zeros((5, 3))}, r"float64 \[5, 3\]; the model gives \[5, 2\]"),
        ("", {"layer__b__0__0": np.zeros((4, 2))}, r"float64 \[4, 2\]; the model gives \[5, 2\]"),
        ("", {"layer__b__0__0": np.array([["a"] * 2] * 5)}, r"the model gives \[5, 2\]"),
        ("input/input_1", {"input__x": np.zeros((5, 4))}, r"\[5, 4\]; the model gives \[5, 3\]"),
        ("", {"input__y": np.zeros((5, 3))}, "inputs input_1, y; the model takes input_1"),
        ("input/input_1", {}, "lacks inputs"),
        ("", {"other": np.zeros(3)}, "'other' is no key"),
        ("", {"layer__b": np.zeros(3)}, "'layer/b' is no layer/PATH/CALL/INDEX"),
        ("about", {"about": np.array("{")}, "'about' is no JSON"),
    ],
)
def test_a_recording_of_something_else(
    imported: Imported, npz: Path, gone: str, new: dict[str, Any], told: str
) -> None:
    arrays = change(recorded(imported), gone, **new)
    with pytest.raises(DataError, match=told):
        compare(imported, written(npz, arrays))


def test_an_input_of_another_name_is_known_by_its_place(imported: Imported, npz: Path) -> None:
    arrays = recorded(imported)
    arrays["input/dense_input"] = arrays.pop("input/input_1")
    assert compare(imported, written(npz, arrays)).first is None


def test_what_a_nested_model_hides_is_not_recorded(imported: Imported, npz: Path) -> None:
    hidden = Part("outer/inner", "Dense", 0, 0, imported.parts[0].value)
    imported.parts[:1] = [hidden]
    arrays = recorded(imported)
    arrays.pop("layer/a/0/0")
    arrays["about"] = np.array('{"left_out": ["outer"]}')
    proof = compare(imported, written(npz, arrays))
    assert [row.verdict for row in proof.rows] == ["not recorded", "agrees", "agrees"]
    assert proof.verdict == "proved"
    assert str(proof).startswith("proved: 1 of 2 layers within ")
    assert str(proof).endswith(" on 5 examples; 1 not recorded")
    assert (proof.as_data()["layers_compared"], proof.as_data()["layers_in_all"]) == (1, 2)


def test_outputs_that_were_not_recorded_prove_nothing(imported: Imported, npz: Path) -> None:
    imported.whole = False
    arrays = change(recorded(imported), "layer/b/0/0", layer__other__0__0=np.zeros((5, 2)))
    proof = compare(imported, written(npz, arrays))
    assert [row.verdict for row in proof.rows] == ["agrees", "not recorded", "not recorded"]
    assert proof.verdict == "unproved"
    assert str(proof).startswith("unproved: prediction b is not recorded; 1 of 2 layers within ")


def test_no_examples_prove_nothing(imported: Imported, npz: Path) -> None:
    arrays = {key: a[:0] if a.ndim else a for key, a in recorded(imported).items()}
    with pytest.raises(DataError, match="it has no examples"):
        compare(imported, written(npz, arrays))


@pytest.mark.parametrize("width", [0, 3])
def test_values_without_numbers_are_not_compared(npz: Path, width: int) -> None:
    network = cortex.network({"cortex": 1, "name": "it", "inputs": {"x": [None, 3]}, "layers": ["relu"]})
    part = Part("r", "ReLU", 0, 0, Value("relu", (None, 3)))
    imported = Imported("m.h5", network, "", {"x": Value("x", (None, 3))}, [part])
    x = np.ones((4, width, 3), np.float32)
    proof = compare(imported, written(npz, {"input/x": x, "layer/r/0/0": x}))
    assert proof.verdict == ("proved" if width else "unproved")


def test_an_input_that_is_an_output_too(npz: Path) -> None:
    """No layer gives it: what was recorded of it is the input."""
    inner = [{"linear": {"id": "x_out", "from": "x"}}, {"relu": {"id": "r", "from": "x"}}]
    two = {"cortex": 1, "name": "it", "inputs": {"x": [3]}, "layers": inner, "outputs": ["x_out", "r"]}
    parts = [Part("r", "ReLU", 0, 0, Value("r", (3,)))]
    imported = Imported("m.h5", cortex.network(two), "", {"x": Value("x", (3,))}, parts)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    proof = compare(imported, written(npz, {"input/x": x, "layer/r/0/0": np.maximum(x, 0)}))
    assert [(row.layer, row.verdict) for row in proof.rows[1:]] == [
        ("prediction x_out", "agrees"),
        ("prediction r", "agrees"),
    ]
    assert proof.verdict == "proved"


def test_a_layer_may_be_called_as_predictions_are(imported: Imported, npz: Path) -> None:
    imported.parts[0] = Part("prediction b", "Dense", 0, 0, imported.parts[0].value)
    arrays = recorded(imported)
    arrays["layer/prediction b/0/0"] = arrays.pop("layer/a/0/0") + 1
    found = compare(imported, written(npz, arrays))
    assert [row.verdict for row in found.rows] == ["departs", "agrees", "agrees"]


def test_what_leads_to_no_output_is_not_compared(imported: Imported, npz: Path) -> None:
    """Keras 3 computes masks that nobody takes."""
    arrays = {**recorded(imported), "layer/not_equal/0/0": np.ones((5, 3), bool)}
    imported.unused = frozenset({"not_equal"})
    assert len(compare(imported, written(npz, arrays)).rows) == 3


def test_masks_that_keras_makes_when_it_loads_a_model_are_left_out(imported: Imported, npz: Path) -> None:
    arrays = recorded(imported)
    arrays |= {f"layer/{name}/0/0": np.ones((5, 3), bool) for name in ("not_equal_3", "any")}
    proof = compare(imported, written(npz, arrays))
    assert [row.name for row in proof.rows] == ["a", "b", "prediction b"]
    assert proof.verdict == "proved"


def test_layers_of_a_description_are_known_by_name(imported: Imported, npz: Path) -> None:
    """What has no name in common is not compared."""
    imported.whole = False
    imported.parts[0] = Part("block/a", "relu", 0, 0, imported.parts[0].value)
    arrays = recorded(imported)
    arrays["layer/block_a/0/0"] = arrays.pop("layer/a/0/0")
    arrays["layer/other/0/0"] = arrays.pop("layer/b/0/0")
    verdicts = [row.verdict for row in compare(imported, written(npz, arrays)).rows]
    assert verdicts == ["agrees", "not recorded", "not recorded"]
    arrays["layer/x/0/0"] = arrays.pop("layer/block_a/0/0")
    with pytest.raises(DataError, match="none of its layers has the name"):
        compare(imported, written(npz, arrays))


def test_several_results_of_a_layer_of_a_description(imported: Imported, npz: Path) -> None:
    """An LSTM of Keras gives its last step and its states, and none of them is what ours gives first."""
    imported.whole = False
    arrays = change(recorded(imported), layer__a__0__0=np.zeros((5, 7)))
    with pytest.raises(DataError, match=r"\[5, 7\]; the model gives \[5, 4\]"):
        compare(imported, written(npz, arrays))
    proof = compare(imported, written(npz, change(arrays, layer__a__0__1=np.zeros((5, 7)))))
    assert [row.verdict for row in proof.rows] == ["not recorded", "agrees", "agrees"]
    states = change(recorded(imported), layer__a__0__1=np.zeros((5, 7)))
    assert compare(imported, written(npz, states)).compared == (2, 2)


def test_a_pickle_is_refused(imported: Imported, npz: Path) -> None:
    arrays = change(recorded(imported), layer__b__0__0=np.array([{}] * 5, object))
    with pytest.raises(DataError, match=r"'layer/b/0/0\.npy' holds object, not numbers"):
        written(npz, arrays)


def test_files_that_are_no_recording(imported: Imported, npz: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        Recording(npz)
    np.savez(npz, **recorded(imported))
    whole = npz.read_bytes()
    for content in (b"", b"no zip at all", whole[: len(whole) // 2], whole.replace(b"NUMPY", b"NUMPI")):
        npz.write_bytes(content)
        with pytest.raises(DataError, match="no recording of a Keras model"):
            Recording(npz)


def test_a_shape_that_the_file_cannot_hold(npz: Path, imported: Imported) -> None:
    """No memory is taken for what a header says."""
    np.savez(npz, **recorded(imported))
    with zipfile.ZipFile(npz, "a") as archive:
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000), }"
        text = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117) + b"\n"
        archive.writestr("layer/c/0/0.npy", text)
    with pytest.raises(DataError, match=r"has shape \[1000000000, 1000\], but 128 bytes"):
        Recording(npz)


def test_an_array_that_stands_in_it_twice(npz: Path, imported: Imported) -> None:
    np.savez(npz, **recorded(imported))
    with zipfile.ZipFile(npz, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("layer/b/0/0.npy", archive.read("layer/b/0/0.npy"))
    with pytest.raises(DataError, match="stands in it twice"):
        Recording(npz)


def test_layers_of_models_without_a_name_are_known_by_their_own(imported: Imported, npz: Path) -> None:
    """As files have them before Keras 2.2.3: of the first one Keras 1 runs the layers alone."""
    arrays = recorded(imported)
    inside, behind = imported.parts
    inner = [replace(inside, path="sequential_1/a"), replace(inside, path="sequential_1", kind="Sequential")]
    outer = [replace(behind, path="sequential_2/b"), replace(behind, path="sequential_2", kind="Sequential")]
    imported.parts = inner + outer
    arrays["layer/sequential_9/0/0"] = arrays["layer/b/0/0"]
    arrays["layer/sequential_9/b/0/0"] = arrays.pop("layer/b/0/0")
    proof = compare(imported, written(npz, arrays))
    assert proof.verdict == PROVED
    verdicts = {row.layer: row.verdict for row in proof.rows if not row.prediction}
    assert verdicts == {
        "sequential_1/a": "agrees",
        "sequential_1": "not recorded",
        "sequential_2/b": "agrees",
        "sequential_2": "agrees",
    }
    del arrays["layer/a/0/0"]
    with pytest.raises(DataError, match=r"it lacks sequential_1/a$"):
        compare(imported, written(npz, arrays))


def test_inputs_stand_in_the_order_that_the_recording_tells(npz: Path) -> None:
    about = np.array('{"inputs": ["b", "a"]}')
    arrays = {"input/a": np.ones(2), "input/b": np.ones(2), "layer/x/0/0": np.ones(2), "about": about}
    assert [*written(npz, arrays).inputs] == ["b", "a"]
    assert [*written(npz, {**arrays, "about": np.array('{"inputs": [["b"], "a"]}')}).inputs] == ["a", "b"]
