"""Fields that name other values of a network, layers inside layers, and several results of one layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_core.initializers import Constant
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.network import Network
from cortex_core.ops.pointwise import cast, select
from cortex_core.registry import LAYERS, Layer, Source, Sources, field, layer
from cortex_core.spec import inspect, read

INPUTS = {"x": [3], "words": {"shape": [3], "dtype": "int64"}, "other": [3]}


@pytest.fixture(autouse=True)
def layers(own_registry: None) -> None:
    @layer("gated", outputs=("off",))
    class Gated:
        """x where the mask holds, else the sum of the others."""

        mask: Source | None = field(default=None, doc="where x counts")
        others: Sources | None = field(default=None, doc="what stands elsewhere")

        def forward(self, p: Scope, x: Any, mask: Any = None, others: Any = ()) -> Any:
            rest = sum(others[1:], others[0]) if others else x * 0.0
            y = x if mask is None else select(cast(mask, "bool"), x, rest)
            return y, {"off": x - y}

    @layer("twice", main="layer")
    class Twice:
        """A layer, and its double by parameters of its own."""

        layer: Layer = field(doc="the layer")

        def parameters(self, x: Any) -> Iterator[Parameter]:
            yield Parameter("a_kernel", (2, 4), (Constant(value=1.0), Constant(value=2.0)), parts=("l", "r"))

        def forward(self, p: Scope, x: Any, **named: Any) -> Any:
            y = self.layer.forward(p.inner("b_"), x, **named)
            return (y[0] if isinstance(y, tuple) else y) * 2.0 + p.inner("a_").kernel[0, 3] * 0.0


def described(*layers: Any, **parts: Any) -> dict[str, Any]:
    """A description with those inputs that the layers name."""
    inputs = {name: shape for name, shape in INPUTS.items() if repr(name) in repr(layers)}
    return {"cortex": 1, "inputs": inputs, "layers": list(layers), **parts}


X = np.array([[1.0, 2.0, 3.0]], np.float32)
GIVEN = {"x": X, "words": np.array([[1, 0, 4]]), "other": -X}


def test_a_field_names_a_value() -> None:
    made = Network(read(described({"gated": {"from": "x", "mask": "words", "others": ["other", "x"]}})))
    assert made.predict(GIVEN).tolist() == [[1.0, 0.0, 3.0]]
    alone = Network(read(described({"gated": {"from": "x", "mask": "words", "others": "other"}})))
    assert alone.predict(GIVEN).tolist() == [[1.0, -2.0, 3.0]]


def test_canonical_data_keep_the_field_apart_from_the_inputs() -> None:
    made = read(described({"gated": {"from": "x", "mask": "words", "others": "other", "id": "g"}}))
    (data,) = made.canonical["layers"]
    assert data == {"gated": {"mask": "words", "others": ["other"], "id": "g", "from": "x"}}
    assert made.layers[0].sources == ("x", "words", "other")
    assert read(made.canonical).canonical == made.canonical


def test_a_layer_may_name_one_that_comes_later() -> None:
    first = {"gated": {"from": "x", "others": "late", "mask": "words", "id": "first"}}
    late = {"gated": {"from": "other", "id": "late"}}
    made = Network(read(described(first, late, outputs="first")))
    assert made.predict(GIVEN).tolist() == [[1.0, -2.0, 3.0]]


def test_a_layer_gives_more_than_one_value() -> None:
    first = {"gated": {"from": "x", "mask": "words", "id": "first"}}
    made = Network(read(described(first, {"add": {"from": ["first.off", "other"]}})))
    assert made.predict(GIVEN).tolist() == [[-1.0, 0.0, -3.0]]


@pytest.mark.parametrize("inner", [{"gated": {"mask": "words"}}, ["gated", {"mask": "words"}]])
def test_the_field_of_a_layer_inside(inner: Any) -> None:
    made = Network(read(described({"twice": {"layer": inner, "from": "x"}}, outputs="twice")))
    _, problems = inspect(described({"twice": {"layer": {"gated": {"mask": "wrods"}}, "from": "x"}}))
    assert made.predict(GIVEN).tolist() == [[2.0, 0.0, 6.0]]
    assert str(problems[0]).startswith("layers[0].twice.layer.gated.mask: there is no 'wrods'")
    assert made.description.layers[0].sources == ("x", "words")


def test_names_in_the_arguments_of_a_block_are_looked_up_where_it_is_used() -> None:
    inner = {"parameters": {"mask": None}, "layers": [{"gated": {"mask": "$mask", "id": "words"}}]}
    outer = {
        "parameters": {"where": None},
        "layers": [{"relu": {"id": "x"}}, {"inner": {"mask": "$where"}}],
    }
    blocks = {"inner": inner, "outer": outer}
    made = read(described({"outer": {"where": "words", "from": "x", "id": "o"}}, blocks=blocks, outputs="o"))
    assert made.layers[-1].sources == ("o/x", "words")
    assert Network(made).predict(GIVEN).tolist() == [[1.0, 0.0, 3.0]]


def test_what_a_block_itself_names_is_looked_up_inside() -> None:
    block = {"layers": [{"relu": {"id": "own"}}, {"gated": {"mask": "input", "others": "own"}}]}
    made = read(described({"b": {"from": "x", "id": "b"}}, blocks={"b": block}, outputs="b"))
    assert made.layers[-1].sources == ("b/own", "x", "b/own")
    wrong = {"layers": [{"gated": {"mask": "words"}}]}
    _, problems = inspect(described({"relu": {"from": "words"}}, {"b": {"from": "x"}}, blocks={"b": wrong}))
    assert "a block sees its own layers and 'input' only" in str(problems[0])


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (True, "mask: true is a truth value: expected the id of a layer or the name of an input"),
        (["words"], "mask: this is a list of one: expected the id of a layer or the name of an input"),
        ("nobody", "mask: there is no 'nobody'"),
        ("gated", "a circle: gated -> gated"),
    ],
)
def test_what_is_no_value(value: Any, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(described({"gated": {"from": "x", "mask": value}}))
    assert told in str(caught.value)


def test_parts_of_a_parameter_have_names() -> None:
    made = Network(read(described({"twice": {"layer": "relu", "from": "x"}})))
    kernel = made.parameters["twice/a_kernel"]
    assert kernel.tolist() == [[1.0, 1.0, 2.0, 2.0]] * 2
    made.parameters["twice/a_kernel.r"] = np.array([[5.0, 6.0], [7.0, 8.0]])
    assert made.parameters["twice/a_kernel.r"].tolist() == [[5.0, 6.0], [7.0, 8.0]]
    assert made.parameters["twice/a_kernel"].tolist() == [[1.0, 1.0, 5.0, 6.0], [1.0, 1.0, 7.0, 8.0]]
    assert list(made.parameters) == ["twice/a_kernel"]
    with pytest.raises(KeyError, match=r"there is no 'middle' of twice/a_kernel; its parts are l, r"):
        made.parameters["twice/a_kernel.middle"]
    with pytest.raises(KeyError, match=r"twice/a_kernal: there is none\. Did you mean 'twice/a_kernel'\?"):
        made.parameters["twice/a_kernal"]
    assert "twice/a_kernel.middle" not in made.parameters
    with pytest.raises(Exception, match=r"has shape \(2, 2\), not \(4,\)"):
        made.parameters["twice/a_kernel.l"] = np.zeros(4)


@pytest.mark.parametrize("last", [False, True])
def test_no_id_is_that_of_an_output(last: bool) -> None:
    gated, other = {"gated": {"from": "x", "id": "g"}}, {"relu": {"from": "other", "id": "g.off"}}
    _, problems = inspect(
        described(*([gated, other] if last else [other, gated]), {"tanh": {"from": "g.off"}})
    )
    told = f"layers[{int(last)}].relu.id: 'g.off' is what 'g' gives already: expected another id"
    assert list(map(str, problems)) == [told]


def test_nothing_follows_from_a_layer_with_the_name_of_a_table() -> None:
    words = {"embedding": {"tokens": 7, "units": 4, "id": "words", "from": "words_"}}
    layers = [
        words,
        {"dense": {"units": 4, "id": "words.table"}},
        {"dense": {"units": 3, "from": "words.table"}},
    ]
    _, problems = inspect({"inputs": {"words_": {"shape": [3], "dtype": "int64"}}, "layers": layers})
    assert [problem.found for problem in problems] == ["'words.table' is what 'words' gives already"]


def test_neither_an_input_nor_a_repeated_layer_has_the_name_of_an_output() -> None:
    gated = {"gated": {"from": "x", "id": "g"}}
    data = {"inputs": {"x": [3], "g.off": [3]}, "layers": [gated, {"add": {"from": ["g", "g.off"]}}]}
    assert "'g.off' is what 'g' gives already" in str(inspect(data)[1][0])
    repeated = {"relu": {"from": "x", "id": "g.off", "repeat": 2}}
    assert "'g.off' is what 'g' gives already" in str(inspect(described(gated, repeated))[1][0])
    again = {"gated": {"from": "x", "id": "g", "repeat": 2}}
    assert "'g.off' is what 'g' gives already" in str(
        inspect(described(again, {"relu": {"from": "g", "id": "g.off"}}))[1][0]
    )


def test_a_circle_is_told_at_the_field_that_closes_it() -> None:
    first = {"gated": {"from": "x", "others": ["x", "late"], "id": "first"}}
    _, problems = inspect(described(first, {"relu": {"from": "first", "id": "late"}}))
    (told,) = map(str, problems)
    assert told.startswith("layers[0].gated.others[1]: a circle: first -> late -> first")


def test_a_class_may_name_a_value_by_itself() -> None:
    @layer("masked")
    class Masked:
        mask: Source = field(default="words", doc="where x counts")
        inner: Layer | None = field(default=None, doc="a layer")

        def forward(self, p: Scope, x: Any, mask: Any = None, others: Any = ()) -> Any:
            return sum(others, select(cast(mask, "bool"), x, x * 0.0))

    @layer("outer")
    class Outer:
        layer: Layer = field(default=LAYERS["gated"](others=("x", "other")), doc="a layer")

        def forward(self, p: Scope, x: Any, others: Any = ()) -> Any:
            return self.layer.forward(p, x, others=others)[0] + others[1]

    made = Network(read(described({"masked": {"from": "x"}}, {"gated": {"mask": "words"}})))
    assert made.predict(GIVEN).tolist() == [[1.0, 0.0, 3.0]]
    made = Network(read(described({"outer": {"from": "x"}}, {"add": {"from": ["outer", "other"]}})))
    assert made.predict(GIVEN).tolist() == [[-1.0, -2.0, -3.0]]
    (told, *_) = map(str, inspect({"inputs": {"x": [3]}, "layers": [{"masked": {"from": "x"}}]})[1])
    assert told.startswith("layers[0].masked.mask: there is no 'words'")
    (told, *_) = map(str, inspect({"inputs": {"x": [3]}, "layers": ["masked"]})[1])
    assert told.startswith("layers[0].mask: there is no 'words'")


@pytest.mark.parametrize("table", ["x", "words", "words.mask", "other"])
def test_the_table_of_an_unembedding_is_the_same_for_all_examples(table: str) -> None:
    inputs = {"text": {"shape": [3], "dtype": "int64"}, "x": [4]}
    words = {"embedding": {"tokens": 7, "units": 4, "mask_zero": True, "id": "words", "from": "text"}}
    other = {"dense": {"units": 4, "from": "words", "id": "other"}}
    scores = {"unembedding": {"table": table, "from": "other"}}
    _, problems = inspect(
        {"inputs": inputs, "layers": [words, other, scores, {"dense": {"units": 1, "from": "x"}}]}
    )
    told = (
        f"layers[2].unembedding.table: '{table}' differs between examples: expected ID.table, where ID is an"
    )
    (found,) = map(str, problems)
    assert found.startswith(told)
