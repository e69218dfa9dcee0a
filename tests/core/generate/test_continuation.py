"""What a sequence starts from, how far it is seen, where it ends; and what is refused."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import CortexError, DataError, SpecError
from cortex_core.generate import Continuation, Generation, LanguageModel, Sampler, generate
from cortex_core.network import Network
from tests.core.generate.networks import TOKENS, language, lively, logs_by_hand

GRU = {"gru": {"units": 8, "return": "sequence"}}
ATTENTION = {"multi_head_attention": {"heads": 2, "causal": True}}
NAMES = "anna\nmaria\nnora\nmiriam\nramon\n" * 4


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A network that has read lines of text, from its file."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "names.txt").write_text(NAMES)
    spec = {
        "cortex": 1,
        "name": "names",
        "inputs": {"text": "auto"},
        "layers": [
            {"embedding": {"tokens": 9, "units": 8}},
            GRU,
            {"dense": {"units": 10, "id": "letter"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "letter", "target": "next", "ignore_index": 0}},
        "train": {"data": {"lines": str(folder / "names.txt")}, "batch_size": 5},
    }
    run = cortex.train(spec, out=folder / "run", seed=1)
    return lively(cortex.load(Path(run.path) / "model.cortex"))


def vocabulary(network: Network) -> tuple[str, ...]:
    tokens: tuple[str, ...] = network.encoding.vocabulary.tokens  # type: ignore[union-attr,attr-defined]
    return tokens


def test_a_text(names: Network) -> None:
    made = generate(names, "mar", 60, seed=3)
    assert isinstance(made, Generation)
    assert (made.prompt, made.seed, len(made.tokens), len(made.log_probabilities)) == ("mar", 3, 60, 60)
    assert made.text == "".join(vocabulary(names)[token] for token in made.tokens)
    assert str(made) == "mar" + made.text
    assert made == generate(names, "mar", 60, seed=3)
    assert made.text != generate(names, "mar", 60, seed=4).text
    assert generate(names, "mar", 10, top_k=1, seed=9).tokens == generate(names, "mar", 10, 0).tokens


@pytest.mark.parametrize("cache", [True, False])
def test_lines_begin_and_end_with_a_separator(names: Network, cache: bool) -> None:
    """Each line is read as training reads it: behind the separator, and with nothing of the lines before."""
    made = generate(names, "", 80, seed=2, cache=cache)
    end = vocabulary(names).index("\n")
    drawn, lines = list(made.tokens), 0
    expected: list[float] = []
    while drawn:
        length = drawn.index(end) + 1 if end in drawn else len(drawn)
        line, drawn = drawn[:length], drawn[length:]
        logs = logs_by_hand(names_of_any_length(names), [end], line)
        expected += logs[np.arange(length), line].tolist()
        lines += 1
    assert lines > 3
    np.testing.assert_allclose(made.log_probabilities, expected, atol=1e-4)
    behind = generate(names, "nora\nan", 20, seed=5, cache=cache)
    assert behind.tokens == generate(names, "an", 20, seed=5, cache=cache).tokens
    assert behind.prompt == "nora\nan"


def names_of_any_length(names: Network) -> Network:
    """The same parameters, for lines of every length."""
    spec = {**names.description.canonical, "inputs": {"text": {"shape": [None], "dtype": "int64"}}}
    made = cortex.network({k: v for k, v in spec.items() if k != "train"})
    for name, values in names.parameters.items():
        made.parameters[name] = values
    return made


def test_what_stands_for_no_text_is_never_drawn(names: Network) -> None:
    """Padding, unknown, and what the network gives scores of beyond the tokens that there are."""
    bias = names.parameters["letter/bias"].copy()
    allowed = LanguageModel(names).allowed
    assert allowed.tolist() == [False, False, *[True] * 7, False]
    try:
        names.parameters["letter/bias"] = np.where(allowed, bias, 50)
        assert set(generate(names, "an", 50, temperature=5.0).tokens) <= set(range(2, 9))
    finally:
        names.parameters["letter/bias"] = bias


def test_it_ends_at_a_token(names: Network) -> None:
    whole = generate(names, "an", 50, seed=2)
    ended = generate(names, "an", 50, seed=2, stop="\n")
    assert ended.text == whole.text[: whole.text.index("\n")]
    assert ended == generate(names, "an", 50, seed=2, stop=vocabulary(names).index("\n"))
    with pytest.raises(DataError, match="'M', at character 1 of stop, is not among the 9 tokens"):
        generate(names, "an", stop="M")
    with pytest.raises(DataError, match="stop is 'an', which is 2 tokens: expected one"):
        generate(names, "an", stop="an")


def test_pieces_as_they_are_drawn(names: Network) -> None:
    made = Continuation(LanguageModel(names), "mar", 30, Sampler(seed=3))
    pieces = []
    for i, piece in enumerate(made):
        pieces.append(piece)
        assert len(made.generation.tokens) == min(i + 1, 30)
    assert "".join(pieces) == made.generation.text
    assert made.generation == generate(names, "mar", 30, seed=3)


def test_two_at_a_time_do_not_disturb_each_other(names: Network) -> None:
    """Neither in turns, nor in threads; and nothing of it stays with the network."""
    states = set(names.store.types)
    alone = [generate(names, prompt, 40, seed=1).text for prompt in ("mar", "no")]
    both = [Continuation(LanguageModel(names), prompt, 40, Sampler(seed=1)) for prompt in ("mar", "no")]
    in_turns = zip(*both)
    assert ["".join(pieces) for pieces in zip(*in_turns)] == alone
    found: dict[str, str] = {}

    def run(prompt: str) -> None:
        found[prompt] = generate(names, prompt, 40, seed=1).text

    threads = [threading.Thread(target=run, args=[prompt]) for prompt in ("mar", "no")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found["mar"], found["no"]] == alone
    assert set(names.store.types) == states


def test_a_network_that_learns_says_something_else() -> None:
    network = language(GRU, length=8)
    before = generate(network, [1], 20, seed=1)
    network.parameters["scores/bias"] = np.eye(TOKENS)[4] * 100
    assert set(generate(network, [1], 20, seed=1).tokens) == {4}
    assert set(before.tokens) != {4}


def test_numbers_of_tokens() -> None:
    network = language(GRU)
    made = generate(network, "1, 2,3", 5, seed=1)
    assert made.tokens == generate(network, [1, 2, 3], 5, seed=1).tokens
    assert (made.prompt, generate(network, [1, 2, 3], 5).prompt) == ("1, 2,3", "1 2 3")
    assert made.text == "".join(f" {token}" for token in made.tokens)


@pytest.mark.parametrize(
    "last",
    [
        [{"dense": {"units": TOKENS, "id": "scores"}}, "softmax"],
        [{"dense": {"units": TOKENS, "activation": "softmax", "id": "scores"}}],
    ],
)
def test_probabilities_are_taken_for_what_they_are(last: list[Any]) -> None:
    """A network without a loss that ends in softmax."""
    logits = language(GRU)
    canonical = logits.description.canonical
    top = {name: canonical[name] for name in ("cortex", "name", "inputs")}
    network = cortex.network({**top, "layers": [*canonical["layers"][:2], *last]})
    for name, values in logits.parameters.items():
        network.parameters[name] = values
    found, expected = (generate(x, [1, 2], 20, seed=1) for x in (network, logits))
    assert found.tokens == expected.tokens
    np.testing.assert_allclose(found.log_probabilities, expected.log_probabilities, atol=1e-4)


SEVERAL = {
    "cortex": 1,
    "name": "two",
    "inputs": {"a": {"shape": [4], "dtype": "int64"}, "b": {"shape": [4], "dtype": "int64"}},
    "layers": [
        {"embedding": {"tokens": 5, "units": 8, "id": "x", "from": "a"}},
        {"embedding": {"tokens": 5, "units": 8, "id": "y", "from": "b"}},
        {"add": {"from": ["x", "y"]}},
        {"dense": 5},
    ],
}
COUNTED = {
    "cortex": 1,
    "inputs": {
        "a": {"shape": [4], "dtype": "int64"},
        "n": {"shape": [], "dtype": "int64"},
        "b": {"shape": [None], "dtype": "int64"},
    },
    "layers": [
        {"embedding": {"tokens": 5, "units": 8, "from": "a"}},
        {"gru": {"units": 8, "lengths": "n", "id": "read"}},
        {"embedding": {"tokens": 5, "units": 8, "from": "b"}},
        {"gru": {"units": 8, "initial": "read", "return": "sequence"}},
        {"dense": 5},
    ],
}
PICTURES = {"inputs": {"image": [8, 8, 1]}, "layers": ["flatten", {"dense": 3}]}
LABELS = {
    "inputs": {"text": {"shape": [6], "dtype": "int64"}},
    "layers": [{"embedding": {"tokens": 5, "units": 4}}, {"lstm": 4}, {"dense": {"units": 5, "id": "d"}}],
}
SHORTER = {
    "inputs": {"text": {"shape": [6], "dtype": "int64"}},
    "layers": [
        {"embedding": {"tokens": 5, "units": 4}},
        {"conv1d": {"filters": 5, "kernel": 2, "stride": 2, "id": "c"}},
    ],
}


@pytest.mark.parametrize(
    ("network", "options", "kind", "message"),
    [
        (language(GRU), {}, DataError, "the prompt is empty, and language has no token to begin with"),
        (language(GRU), {"prompt": []}, DataError, "the prompt is empty"),
        (language(GRU), {"prompt": "hello"}, DataError, "expected the numbers of tokens, such as 3,14,15"),
        (language(GRU), {"prompt": [1, 11]}, DataError, "token 11, the tokens of 'words' are 0 to 10"),
        (language(GRU), {"prompt": [-1]}, DataError, "token -1, the tokens of 'words' are 0 to 10"),
        (language(GRU), {"prompt": [1.5]}, DataError, "1.5 is no token"),
        (language(GRU), {"prompt": [True]}, DataError, "True is no token"),
        (language(GRU), {"prompt": None}, DataError, "the prompt is None: expected text, or the numbers"),
        (language(GRU), {"prompt": 3}, DataError, "the prompt is 3: expected text, or the numbers of tokens"),
        (language(GRU), {"prompt": [1], "tokens": 0}, SpecError, "tokens is 0: expected a whole number"),
        (language(GRU), {"prompt": [1], "tokens": 1.5}, SpecError, "tokens is 1.5"),
        (language(GRU), {"prompt": [1], "temperature": -1}, SpecError, "temperature is -1"),
        (language(GRU), {"prompt": [1], "inputs": {"x": 1}}, DataError, "no input 'x'; its inputs are text"),
        (language(GRU), {"prompt": [1], "inputs": {"text": [1]}}, DataError, "the one that grows"),
        (language(GRU), {"prompt": [1], "input": "y"}, DataError, "the one that grows, 'y'"),
        (language(GRU), {"prompt": [1], "stop": 2.5}, DataError, "stop is 2.5: expected one token, its"),
        (language(GRU), {"prompt": [1], "stop": [1, 2]}, DataError, "stop is [1, 2]: expected one token"),
        (language(GRU), {"prompt": [1], "stop": "x"}, DataError, "stop is 'x', and this network learned no"),
        (
            language(GRU),
            {"prompt": [1], "stop": 11},
            DataError,
            "stop is 11, which is never drawn: expected a token of 0 to 10",
        ),
        (language(GRU), {"prompt": [1], "stop": -1}, DataError, "stop is -1, which is never drawn"),
        (
            language(ATTENTION, length=4),
            {"prompt": [1] * 5},
            DataError,
            "the prompt has 5 tokens, the context of language is 4: give a shorter one",
        ),
        (
            language({"positional_encoding": {"kind": "learned", "length": 12}}),
            {"prompt": [1] * 13},
            DataError,
            "the prompt has 13 tokens, the context of language is 12",
        ),
        (cortex.network(SEVERAL), {"prompt": [1]}, DataError, "two has the inputs a, b: give one example"),
        (
            cortex.network(SEVERAL),
            {"prompt": [1], "inputs": {"a": [1, 2]}},
            DataError,
            "input 'a' has shape (1, 2), expected (examples, 4)",
        ),
        (
            cortex.network(SEVERAL),
            {"prompt": [1], "inputs": {"a": [1, 2, 3, 7]}},
            DataError,
            "has token 7, the tokens of 'x' are 0 to 4",
        ),
        (
            cortex.network(SEVERAL),
            {"prompt": [1], "inputs": {"a": [[1, 2], [3]]}},
            DataError,
            "input 'a' is no array: ",
        ),
        (
            cortex.network(COUNTED),
            {"prompt": [1], "inputs": {"a": [1, 2, 3, 4], "n": 0}},
            DataError,
            "input 'n': example 0 has length 0; expected at least 1",
        ),
        (cortex.network(PICTURES), {}, SpecError, "input 'image' is float32 [8, 8, 1]: expected tokens"),
        (
            cortex.network(LABELS),
            {"prompt": [1]},
            SpecError,
            "gives [5] at 'd': to continue a sequence it",
        ),
        (cortex.network(SHORTER), {"prompt": [1]}, SpecError, "gives [3, 5] at 'c'"),
        ("nowhere.cortex", {}, CortexError, "nowhere.cortex"),
    ],
)
def test_wrong_input(network: Any, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    for cache in (True, False):
        with pytest.raises(kind) as error:
            generate(network, **{"tokens": 3, "cache": cache, **options})
        assert message in str(error.value)


def test_the_separator_counts(tmp_path: Path) -> None:
    """A prompt of three characters behind an end of line is four tokens."""
    (tmp_path / "names.txt").write_text("ann\nnan\n" * 4)
    spec = {
        "name": "short",
        "inputs": {"text": {"shape": [3], "dtype": "int64"}},
        "layers": [{"embedding": {"tokens": 5, "units": 8}}, ATTENTION, {"dense": {"units": 5, "id": "d"}}],
        "loss": {"softmax_cross_entropy": {"of": "d", "target": "next", "ignore_index": 0}},
        "train": {"data": {"lines": {"file": str(tmp_path / "names.txt"), "length": 3}}, "batch_size": 4},
    }
    network = cortex.train(spec, out=tmp_path / "run").network
    assert len(generate(network, "an", 2).tokens) == 2
    told = "the prompt has 4 tokens, with the separator that is put before it, the context of short is 3"
    with pytest.raises(DataError, match=told):
        generate(network, "ann")


def test_a_prompt_may_fill_the_context() -> None:
    network = language(ATTENTION, length=4)
    made = [generate(network, [1, 2, 3, 4], 6, seed=1, cache=cache) for cache in (True, False)]
    assert made[0].tokens == made[1].tokens
    assert len(made[0].tokens) == 6


def test_a_context_of_one() -> None:
    network = language(ATTENTION, length=1)
    made = [generate(network, [1], 6, seed=1, cache=cache) for cache in (True, False)]
    assert made[0].tokens == made[1].tokens


def test_a_network_that_diverged() -> None:
    network = language(GRU)
    for cache, number in itertools.product((True, False), (np.nan, np.inf)):
        network.parameters["scores/bias"] = np.full(TOKENS, number)
        with pytest.raises(CortexError, match="diverged"):
            generate(network, [1], cache=cache)
