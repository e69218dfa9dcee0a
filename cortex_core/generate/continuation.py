"""A sequence that a network continues: `generate`, and the same piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortex_compute.backends import get
from cortex_compute.errors import DataError, SpecError
from cortex_core.generate.model import LanguageModel, Prompt
from cortex_core.generate.sampling import Sampler, is_whole
from cortex_core.generate.text import Decoder
from cortex_core.network import network


@dataclass(frozen=True)
class Generation:
    """What was generated.  ``str`` of it is the prompt and the text.

    ``log_probabilities``: for each token the logarithm of its probability by the network itself, whatever
    temperature, top_k and top_p made of it.  ``notes`` say what was done that nobody asked for.
    """

    prompt: str
    text: str
    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    seed: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.prompt + self.text


def generate(
    x: Any,
    prompt: Prompt = "",
    tokens: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    cache: bool = True,
    inputs: Mapping[str, Any] | None = None,
    input: str | None = None,
    stop: str | int | None = None,
    backend: str = "auto",
) -> Generation:
    """Continues ``prompt`` by ``tokens`` tokens, each drawn by the scores that a network gives for the next.

    ``x``: a network, or what `network` takes.  ``prompt``: text, or the numbers of tokens.  ``temperature``
    divides the scores (0: always the best token), ``top_k`` keeps the k most probable tokens, ``top_p`` of
    these the fewest that hold so much of the probability.  The same ``seed`` gives the same text.

    ``cache``: each layer keeps what it needs of earlier positions; without, all are computed again for each
    token, which gives the same.  A network with a layer that needs all positions at once is computed so
    anyway.  ``inputs``: of a network with several, one example of each but the one that grows, which
    ``input`` may name.  At the token ``stop``, which is no part of the result, it ends.

    A sequence that outgrows the context goes on from its later half.  Raises `DataError` for a prompt that is
    longer than the context, outside the vocabulary, or empty where no token begins a sequence, `SpecError`
    for wrong options and for a network that is not causal or gives no scores of tokens.
    """
    sampler = Sampler(temperature, top_k, top_p, seed)
    model = LanguageModel(network(x), inputs, input)
    made = Continuation(model, prompt, tokens, sampler, cache, stop, backend)
    for _ in made:
        pass
    return made.generation


class Continuation:
    """Iterating draws the tokens, and gives what each adds to the text; ``generation`` is what there is so
    far.  The arguments are those of `generate`."""

    def __init__(
        self,
        model: LanguageModel,
        prompt: Prompt,
        tokens: int,
        sampler: Sampler,
        cache: bool = True,
        stop: str | int | None = None,
        backend: str = "auto",
    ) -> None:
        if not is_whole(tokens) or tokens < 1:
            raise SpecError(f"tokens is {tokens!r:.60}: expected a whole number, at least 1")
        self._model, self._sampler, self._count = model, sampler, int(tokens)
        self._history, self.prompt = model.read(prompt)
        self._stop = None if stop is None else model.token(stop)
        self._engine, self._notes = model.engine(get(backend).single(), cache)
        context = self._engine.context
        if context is not None and len(self._history) > context:
            told = f"the prompt has {len(self._history):,} tokens"
            if model.speech.separator is not None:
                told += ", with the separator that is put before it"
            raise DataError(f"{told}, the context of {model.network.name} is {context:,}: give a shorter one")
        self._text: list[str] = []
        self._tokens: list[int] = []
        self._logs: list[float] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done that nobody asked for."""
        return tuple(self._notes)

    @property
    def generation(self) -> Generation:
        """What was drawn so far."""
        text, tokens, logs = "".join(self._text), tuple(self._tokens), tuple(self._logs)
        return Generation(self.prompt, text, tokens, logs, self._sampler.seed, self.notes)

    def __iter__(self) -> Iterator[str]:
        decoder = Decoder(self._model.speech, self._history)
        try:
            for token in self._draw():
                self._text.append(decoder.add(token))
                yield self._text[-1]
            self._text.append(decoder.end())
            yield self._text[-1]
        finally:
            self._engine.close()

    def _draw(self) -> Iterator[int]:
        history = list(self._history)
        scores = self._engine.start(history)
        while True:
            logs = self._model.logs(scores)
            token = self._sampler.draw(np.where(self._model.allowed, logs, -np.inf))
            if token == self._stop:
                return
            self._tokens.append(token)
            self._logs.append(float(logs[token]))
            yield token
            if len(self._tokens) == self._count:
                return
            history.append(token)
            kept = self._kept(history)
            if kept == len(history):
                scores = self._engine.next(token)
            else:
                del history[:-kept]
                scores = self._engine.start(history)

    def _kept(self, history: list[int]) -> int:
        """How many of its last tokens a sequence goes on from: one where a new sequence begins, the later
        half of the context where that is full."""
        if history[-1] == self._model.speech.separator:
            return 1
        context = self._engine.context
        return len(history) if context is None or len(history) <= context else max(1, context // 2)
