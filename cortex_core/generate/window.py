"""The engine without a cache: every token is the end of a window that is computed whole.

The window is padded behind, so the network must be causal, and is probed for it: other tokens behind a
position must leave its scores as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import SpecError
from cortex_compute.protocol import Backend
from cortex_compute.types import TensorType
from cortex_core.generate.steps import SCORES, SHORTEST
from cortex_core.graph.value import Graph, input_value
from cortex_core.network import Network
from cortex_core.program import Program, compile_graph
from cortex_core.terms import known
from cortex_core.trace import trace

Array = np.ndarray[Any, Any]
SMALL = 1e-5  # rounding, relative to the largest score


class Window:
    """Runs a network over all positions for each token; the interface is that of `Steps`.

    ``context`` positions fit into the window; None: it grows as it is needed.  ``given`` holds the other
    inputs, of one example with its batch axis; ``choices`` is how many tokens there are.  Raises `SpecError`
    for a network that is not causal.
    """

    def __init__(
        self,
        network: Network,
        backend: Backend,
        types: Mapping[str, TensorType],
        grows: str,
        of: str,
        context: int | None,
        given: Mapping[str, Array],
        choices: int,
    ) -> None:
        self.context = context
        self._network, self._backend, self._types = network, backend, dict(types)
        self._grows, self._of, self._given = grows, of, dict(given)
        self._tokens: list[int] = []
        self._compile(context or SHORTEST)
        self._expect_causal(choices)

    def start(self, tokens: Sequence[int]) -> Array:
        """The scores (tokens,) behind these tokens and nothing else."""
        self._tokens = list(tokens)
        return self._scores()

    def next(self, token: int) -> Array:
        """The scores (tokens,) behind one more token."""
        self._tokens.append(token)
        return self._scores()

    def close(self) -> None:
        """Gives its memory back."""
        self._program.close()

    def _scores(self) -> Array:
        while len(self._tokens) > self._width:
            self._program.close()
            self._compile(2 * self._width)
        window = np.zeros((1, self._width), np.int64)
        window[0, : len(self._tokens)] = self._tokens
        found: Array = self._run(window)[len(self._tokens) - 1]
        return found

    def _run(self, window: Array) -> Array:
        """The scores of all positions, (positions, tokens)."""
        found: Array = self._program.run({**self._given, self._grows: window})[SCORES].numpy()[0]
        return found

    def _compile(self, width: int) -> None:
        self._width = width
        types = {**self._types, self._grows: self._types[self._grows]._replace(shape=(1, width))}
        inputs = {
            x.name: input_value(x.name, types[x.name], x.place) for x in self._network.description.inputs
        }
        traced = trace(self._network.description, inputs, self._network.fetch, None, training=False)
        graph = Graph(tuple(inputs.values()), {SCORES: known(traced, self._of)})
        plan = compile_graph(graph, self._backend)
        self._program = Program(plan, self._backend, self._network.store.fork())

    def _expect_causal(self, choices: int) -> None:
        generator, width = np.random.default_rng(0), self._width
        window = generator.integers(0, choices, (1, width))
        before = self._run(window).copy()
        for end in {1, width // 2, width - 1} - {0, width}:
            other = window.copy()
            other[0, end:] += generator.integers(1, max(2, choices), width - end)
            after = self._run(other % choices)
            with np.errstate(invalid="ignore"):  # that it diverged is told where it is drawn from
                change = np.abs(after[:end] - before[:end]).max()
            if change > SMALL * np.abs(before).max():
                raise SpecError(
                    f"{self._network.name} is not causal: the scores {self._of!r} of a position change with "
                    "the tokens behind it, so it cannot continue a sequence"
                )
