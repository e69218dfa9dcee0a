"""What a description says of parameters and second outputs, which only a trace can judge."""

from __future__ import annotations

from typing import Any

from cortex_core.check import check
from cortex_core.network import network


def problems(*layers: Any, **inputs: Any) -> list[str]:
    return [str(problem) for problem in check({"inputs": inputs, "layers": list(layers)}).problems]


def test_a_penalty_names_a_parameter_of_its_layer() -> None:
    dense = {"dense": {"units": 3, "penalty": {"kernle": {"l2": 0.1}}}}
    norm = {"batch_norm": {"penalty": {"l2": 0.1}}}
    assert problems(dense, norm, x=[4]) == [
        "layers[0].dense.penalty.kernle.l2: 'dense' has no parameter 'kernle'. Did you mean 'kernel'?",
        "layers[1].batch_norm.penalty.l2: 'batch_norm' has no parameter 'kernel': "
        "expected {scale or shift: {l2: ...}}",
    ]


def test_a_mask_is_a_value() -> None:
    words = {"embedding": {"tokens": 9, "units": 2, "mask_zero": True, "id": "words"}}
    made = network(
        {
            "inputs": {"x": {"shape": [5], "dtype": "int64"}},
            "layers": [words, {"flatten": {"from": "words.mask"}}],
        }
    )
    given = [[3, 0, 1, 0, 8]]
    assert made.types["words.mask"].shape[1:] == (5,)
    assert [list(map(bool, row)) for row in made.predict(given)] == [[True, False, True, False, True]]
