"""Layers and blocks that share parameters: which are whose, and what cannot be shared."""

from __future__ import annotations

from typing import Any

import pytest

from cortex_core.check import check
from cortex_core.spec import read

TOWER = {"layers": [{"dense": {"units": 4, "id": "first"}}, "relu", {"dense": {"units": 2, "id": "last"}}]}


def towers(second: dict[str, Any], **inputs: int) -> dict[str, Any]:
    return {
        "inputs": {"left": 3, "right": 3, **inputs},
        "blocks": {"tower": TOWER},
        "layers": [
            {"tower": {"id": "a", "from": "left"}},
            {"tower": {"id": "b", "from": "right", **second}},
            {"add": {"from": ["a", "b"]}},
        ],
    }


def shared(description: dict[str, Any]) -> dict[str, Any]:
    return {node.id: dict(node.shared) for node in read(description).layers if node.shared}


def problems(*layers: Any, **inputs: int) -> list[str]:
    found = {"inputs": {"left": 3, "right": 3, **inputs}, "layers": [*layers]}
    return [str(problem) for problem in check(found).problems]


def test_a_block_shares_layer_by_layer() -> None:
    assert shared(towers({"share": "a"})) == {"b/first": {"": "a/first"}, "b/last": {"": "a/last"}}


def test_repetitions_share_one_by_one() -> None:
    description = towers({})
    description["layers"] = [
        {"dense": {"units": 3, "id": "a", "from": "left", "repeat": 2}},
        {"dense": {"units": 3, "id": "b", "from": "right", "repeat": 2, "share": "a"}},
        {"add": {"from": ["a", "b"]}},
    ]
    assert shared(description) == {"b.0": {"": "a.0"}, "b.1": {"": "a.1"}}


def test_sharing_leads_to_the_layer_that_owns_the_parameters() -> None:
    description = towers({"share": "a"}, middle=3)
    description["layers"][2:] = [
        {"tower": {"id": "c", "from": "middle", "share": "b"}},
        {"add": {"from": ["a", "b", "c"]}},
    ]
    assert shared(description)["c/last"] == {"": "a/last"}
    again = read(read(description).canonical)
    assert again.canonical == read(description).canonical


def test_one_parameter_may_be_shared() -> None:
    layers = [
        {"dense": {"units": 2, "id": "a", "from": "left"}},
        {"dense": {"units": 2, "id": "b", "from": "right", "share": {"kernel": "a/kernel"}}},
        {"add": {"from": ["a", "b"]}},
    ]
    assert not problems(*layers)
    assert shared({"inputs": {"left": 3, "right": 3}, "layers": layers}) == {"b": {"kernel": "a/kernel"}}


def test_a_name_in_a_block_means_a_layer_of_the_block() -> None:
    inner = [{"dense": {"units": 3, "id": "one"}}, {"dense": {"units": 3, "share": "one"}}]
    description = {
        "inputs": {"x": 3},
        "blocks": {"twice": {"layers": inner}},
        "layers": [{"twice": {"id": "t"}}],
    }
    assert shared(description) == {"t/dense": {"": "t/one"}}


A = {"dense": {"units": 2, "id": "a", "from": "left"}}
ADD = {"add": {"from": ["a", "b"]}}


def b(**fields: Any) -> dict[str, Any]:
    return {"dense": {"units": 2, "id": "b", "from": "right", **fields}}


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (b(share="c"), "layers[1].dense.share: there is no layer 'c'"),
        (b(share="add"), "layers[1].dense.share: 'add' is add, 'b' is dense: expected two of one kind"),
        (b(share="b"), "layers[1].dense.share: what 'b' shares comes round to 'b' again"),
        (b(share=True), "layers[1].dense.share: true is a truth value: expected the id of a layer"),
        (b(share={}), "layers[1].dense.share: this is an empty mapping"),
        (b(share={"kernel": "a"}), "layers[1].dense.share.kernel: 'a' is text: expected a layer and its"),
        (b(share={"kernle": "a/kernel"}), "'b' has no parameter 'kernle'. Did you mean 'kernel'?"),
        (b(share={"kernel": "a/kernle"}), "'a' has no parameter 'kernle'. Did you mean 'kernel'?"),
        (b(share="a", trainable=False), "dense.trainable: trainable beside share: expected it on 'a'"),
        (b(share="a", penalty={"l2": 1}), "layers[1].dense.penalty: penalty beside share"),
        (b(share="a", units=3), "a/kernel is (3, 2) for 'a', (3, 3) for 'b'"),
        (
            b(share={"kernel": "a/kernel"}, constraint={"kernel": "unit_norm"}),
            "layers[1].dense.constraint.kernel: the kernel belongs to 'a': expected it on 'a'",
        ),
        (b(share="a", repeat=2), "dense.share: 'a' is one layer, 'b' is repeated: expected a layer that is"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared(layer: Any, told: str) -> None:
    found = problems(A, layer, ADD)
    assert len(found) == 1
    assert told in found[0]


def test_a_bias_that_the_other_lacks() -> None:
    bare = {"dense": {"units": 2, "id": "a", "from": "left", "use_bias": False}}
    (found,) = problems(bare, b(share="a"), ADD)
    assert "'b' has a bias, 'a' has none: expected layers with the same parameters" in found


@pytest.mark.parametrize("share", ["whole", "kernel"])
def test_a_circle_is_told_once_for_each_that_says_it(share: str) -> None:
    of = (
        {"a": "b", "b": "a"}
        if share == "whole"
        else {"a": {"kernel": "b/kernel"}, "b": {"kernel": "a/kernel"}}
    )
    first = {"dense": {**A["dense"], "share": of["a"]}}
    found = problems(first, b(share=of["b"]), ADD)
    assert found
    assert all("comes round" in problem for problem in found)


def test_what_has_no_parameters_shares_none() -> None:
    (found,) = problems(A, {"relu": {"from": "right", "id": "b", "share": "a"}}, ADD, right=2)
    assert "relu has no parameters" in found


def test_a_parameter_is_no_statistic() -> None:
    norms: list[Any] = [
        {"batch_norm": {"id": "a", "from": "left"}},
        {"batch_norm": {"id": "b", "from": "right", "share": {"scale": "a/moving_mean"}}},
    ]
    told = "'b' learns a/moving_mean, 'a' keeps a statistic in it"
    for one, other in (norms, norms[::-1]):
        (found,) = problems(one, other, ADD)
        assert told in found


def test_who_shares_with_a_layer_whose_softmax_moves_still_shares() -> None:
    """The logits of `a` are what has its parameters then, whoever of the two is written first."""
    a = {"dense": {"units": 2, "id": "a", "from": "left", "activation": "softmax"}}
    loss = [{"softmax_cross_entropy": {"of": id_, "target": "label"}} for id_ in ("a", "b")]
    loss.append({"l2": {"of": "a/kernel"}})
    for layers in ([a, b(share="a", activation="softmax")], [b(share={"kernel": "a/kernel"}), a]):
        described = {"inputs": {"left": 3, "right": 3}, "layers": layers, "loss": loss}
        made = read(described)
        names = {node.id: dict(node.shared) for node in made.layers if node.shared}
        assert names in ({"b/logits": {"": "a/logits"}}, {"b": {"kernel": "a/logits/kernel"}})
        assert made.losses[-1].of == "a/logits"
        assert read(made.canonical).hash == made.hash
        assert not check(described).problems
