"""Networks that continue sequences, and how they do so by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import cortex
from cortex_core.generate import Generation, generate
from cortex_core.network import Network

TOKENS = 11


def language(*layers: Any, length: int | None = None, seed: int = 0, **more: Any) -> Network:
    """A network from tokens to the scores of the next one, with weights so large that texts vary."""
    spec = {
        "cortex": 1,
        "name": "language",
        "inputs": {"text": {"shape": [length], "dtype": "int64"}},
        "layers": [
            {"embedding": {"tokens": TOKENS, "units": 8, "id": "words", **more}},
            *layers,
            {"dense": {"units": TOKENS, "id": "scores"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "scores", "target": "next"}},
    }
    return lively(cortex.network(spec, seed=seed))


def lively(network: Network, seed: int = 0) -> Network:
    """The network with other parameters and running statistics, all of which count."""
    generator = np.random.default_rng(seed)
    for name, values in network.parameters.items():
        network.parameters[name] = generator.normal(size=values.shape) / max(1, values.shape[0] / 2) ** 0.5
    for name, values in network.variables.items():
        network.variables[name] = generator.uniform(0.5, 2.0, size=values.shape)
    return network


def scores_by_hand(network: Network, tokens: Sequence[int], others: Mapping[str, Any], grows: str) -> Any:
    """The scores behind ``tokens``, by a prediction of exactly these.   (tokens,) float64"""
    arrays = {name: np.asarray(x)[None] for name, x in others.items()}
    found = network.predict({**arrays, grows: np.asarray([tokens])}, raw=True)
    return found[0, -1].astype(np.float64)


def logs_by_hand(
    network: Network,
    prompt: Sequence[int],
    drawn: Sequence[int],
    context: int | None = None,
    others: Mapping[str, Any] | None = None,
    grows: str = "text",
) -> np.ndarray:
    """The log probabilities of all tokens before each that was drawn, by a prediction of exactly what stands
    before it.   (drawn, tokens)

    What outgrows ``context`` goes on from its later half.
    """
    history, found = list(prompt), []
    for token in drawn:
        scores = scores_by_hand(network, history, others or {}, grows)
        scores -= scores.max()
        found.append(scores - np.log(np.exp(scores).sum()))
        history.append(token)
        if context is not None and len(history) > context:
            history = history[-(context // 2) :]
    return np.array(found)


def expect_same(network: Network, prompt: Sequence[int], context: int | None = None, **options: Any) -> None:
    """That tokens, drawn or the best, have the probabilities that predictions of every length give, and that
    the best are the best; with the cache and without."""
    length, asked = options.pop("length", 25), dict(options)
    others, grows = asked.get("inputs"), asked.get("input", "text")
    for temperature in (2.0, 0.0):
        made = [
            generate(network, prompt, length, temperature=temperature, seed=1, cache=cache, **asked)
            for cache in (True, False)
        ]
        assert made[0].tokens == made[1].tokens
        assert made[0].notes == made[1].notes == ()
        drawn = list(made[0].tokens)
        logs = logs_by_hand(network, prompt, drawn, context, others, grows)
        for one in made:
            expect_drawn(one, logs)
        if temperature:
            assert len(set(drawn)) > 3
        else:
            assert drawn == logs.argmax(axis=1).tolist()


def expect_drawn(made: Generation, logs: np.ndarray) -> None:
    """That what was drawn has these log probabilities of all tokens."""
    expected = logs[np.arange(len(logs)), list(made.tokens)]
    np.testing.assert_allclose(made.log_probabilities, expected, atol=1e-4)
