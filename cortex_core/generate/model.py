"""A network as a model of language: which input grows, what gives the scores, how its tokens are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from cortex_compute.errors import DataError, SpecError
from cortex_compute.protocol import Backend
from cortex_compute.types import TensorType, dtype
from cortex_core.generate.sampling import Array, is_whole, log_softmax
from cortex_core.generate.steps import SHORTEST, NotStepwise, Steps, needed, trace_step
from cortex_core.generate.text import Letters, Numbers, Text
from cortex_core.generate.window import Window
from cortex_core.given import WholeNumbers, check_input, check_tokens, lookups
from cortex_core.network import Network
from cortex_core.streams import CHOICES
from cortex_core.trace import batch_type
from cortex_core.training.source import find

Prompt = str | Sequence[int]


class LanguageModel:
    """A network that gives scores of the next token.

    ``inputs``: one example of each input but the one that grows, which ``input`` may name.  ``of`` is the id
    of the scores, ``speech`` writes tokens, ``allowed`` (tokens,) says which may be drawn.

    Raises `SpecError` for a network without such scores, `DataError` for inputs that do not suit it.
    """

    def __init__(
        self, network: Network, inputs: Mapping[str, Any] | None = None, input: str | None = None
    ) -> None:
        self.network = network
        self.given = _given(network, inputs or {})
        WholeNumbers(network).check(self.given)
        self.grows = _growing(network, self.given, input)
        self.of, self._probabilities = _scores(network, self.grows.name)
        self.speech = _speech(network, self.grows.name)
        self.allowed = self._allowed()

    def _allowed(self) -> Array:
        """Those that the network reads, that stand for text, and that its loss does not ignore."""
        description, speech = self.network.description, self.speech
        allowed = np.ones(self.network.types[self.of].shape[-1], bool)
        ends = [x.tokens for x in lookups(description) if x.stream == self.grows.name]
        ends += [len(speech)] if isinstance(speech, Text) else []
        allowed[min(ends, default=len(allowed)) :] = False
        allowed[[token for token in speech.hidden if token < len(allowed)]] = False
        for loss in description.losses:
            ignored = getattr(loss.loss, "ignore_index", None)
            if loss.of == self.of and ignored is not None and 0 <= ignored < len(allowed):
                allowed[ignored] = False
        return allowed

    def read(self, prompt: Prompt) -> tuple[list[int], str]:
        """The tokens to start from, and the prompt as text.

        Where a token separates sequences, one stands before the prompt, and what lies before the last one is
        no part of the sequence.  Raises `DataError` for an empty prompt where there is none, and for tokens
        that the network does not have.
        """
        if isinstance(prompt, str):
            tokens, text = self.speech.encode(prompt), prompt
        else:
            if not isinstance(prompt, Iterable):
                raise DataError(f"the prompt is {prompt!r:.60}: expected text, or the numbers of tokens")
            tokens = [_token(token) for token in prompt]
            text = self.speech.decode(tokens)
        separator = self.speech.separator
        if separator is not None:
            whole = [separator, *tokens]
            tokens = whole[len(tokens) - whole[::-1].index(separator) :]
        if not tokens:
            raise DataError(
                f"the prompt is empty, and {self.network.name} has no token to begin with: give one"
            )
        check_tokens(lookups(self.network.description), {self.grows.name: np.asarray([tokens])})
        return tokens, text

    def token(self, stop: str | int) -> int:
        """The one token that a text or a number is; raises `DataError` for several, and for one that is never
        drawn."""
        if not isinstance(stop, str) and not is_whole(stop):
            raise DataError(f"stop is {stop!r:.60}: expected one token, its text or its number")
        tokens = self.speech.encode(stop, "stop") if isinstance(stop, str) else [int(stop)]
        if len(tokens) != 1:
            raise DataError(f"stop is {stop!r:.60}, which is {len(tokens)} tokens: expected one")
        drawn = np.flatnonzero(self.allowed)
        if tokens[0] not in drawn:
            most = drawn.max(initial=0)
            raise DataError(f"stop is {stop!r:.60}, which is never drawn: expected a token of 0 to {most}")
        return tokens[0]

    def logs(self, scores: Array) -> Array:
        """The logarithms of the probabilities of all tokens, (tokens,) float64."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return log_softmax(np.log(scores.astype(np.float64)) if self._probabilities else scores)

    def engine(self, backend: Backend, cache: bool) -> tuple[Steps | Window, list[str]]:
        """What computes the scores, and notes.

        Its context is the length of the input, or the fewest positions that a layer knows (``positions``),
        unless every layer can go on for ever.
        """
        network, grows, notes = self.network, self.grows, []
        types = {name: TensorType(array.shape, dtype(array.dtype)) for name, array in self.given.items()}
        types[grows.name] = batch_type(grows.shape, grows.dtype, 1)
        known = [getattr(node.layer, "positions", None) for node in needed(network.description, self.of)]
        context = min((n for n in (*known, grows.shape[0]) if n is not None), default=None)
        trace = lru_cache(maxsize=1)(  # asked here whether there are steps, and by the engine for them
            partial(trace_step, network, types, grows.name, self.of)
        )
        try:
            if not trace(context or SHORTEST).bounded and not any(known):
                context = None
            if cache:
                return Steps(network, backend, trace, context, self.given), []
        except NotStepwise as error:
            if cache:
                notes.append(f"all positions are computed for each token: {error}")
        choices = int(np.flatnonzero(self.allowed).max(initial=0)) + 1
        return Window(network, backend, types, grows.name, self.of, context, self.given, choices), notes


def _given(network: Network, inputs: Mapping[str, Any]) -> dict[str, Array]:
    """The inputs that do not grow, with a batch axis; text is padded to the length of its input."""
    known = {x.name: x for x in network.description.inputs}
    unknown = sorted(set(inputs) - set(known))
    if unknown:
        raise DataError(f"{network.name} has no input {unknown[0]!r}; its inputs are {', '.join(known)}")
    arrays = {}
    for name, value in inputs.items():
        x = known[name]
        if isinstance(value, str):
            tokens = _speech(network, name).encode(value, repr(name))
            if not tokens:
                raise DataError(f"input {name!r} is empty: expected one token at least")
            value = tokens + [0] * ((x.shape[0] or 0) - len(tokens))
        try:
            array = np.asarray(value)[None]
        except ValueError as error:
            raise DataError(f"input {name!r} is no array: {error}") from error
        check_input(x, array)
        arrays[name] = array.astype(dtype(x.dtype).storage, copy=False)
    return arrays


def _growing(network: Network, given: Mapping[str, Array], name: str | None) -> Any:
    """The input that grows: the one that is not given."""
    left = [x for x in network.description.inputs if x.name not in given]
    if len(left) != 1 or name not in (None, left[0].name):
        names = ", ".join(x.name for x in network.description.inputs)
        raise DataError(
            f"{network.name} has the inputs {names}: give one example of each but the one that grows"
            + ("" if name is None else f", {name!r}")
            + " (inputs={NAME: ...}; on the command line --input NAME=TEXT)"
        )
    x = left[0]
    if len(x.shape) != 1 or dtype(x.dtype).kind != "int":
        raise SpecError(f"input {x.name!r} is {x.dtype} {list(x.shape)}: expected tokens, int64 [length]")
    return x


def _scores(network: Network, grows: str) -> tuple[str, bool]:
    """The id of what gives the scores of the next token, and whether they are probabilities: what the cross
    entropy is of, else the output."""
    losses = [x.of for x in network.description.losses if x.kind in CHOICES]
    of = str((losses or network.description.outputs)[0])
    type = network.types[of]
    length = network.types[grows].shape[1]
    if len(type.shape) != 3 or type.shape[1] != length or type.dtype.kind != "float":
        raise SpecError(
            f"{network.name} gives {list(type.shape[1:])} at {of!r}: to continue a sequence it has to give "
            "the scores of the next token at each position, [length, tokens]"
        )
    node = next((node for node in network.description.layers if node.id == of), None)
    layer = getattr(node, "layer", None)
    last = getattr(layer, "activation", None) or layer
    return of, getattr(last, "kind", "") == "softmax"


def _speech(network: Network, name: str) -> Text | Numbers:
    """How the tokens of an input are written: by the vocabulary that the network learned, or by the classes
    of its data where these are characters."""
    encoding: Any = network.encoding
    vocabulary = getattr(encoding, "vocabulary", None)
    if vocabulary is not None and name in encoding.streams:
        return Text(vocabulary, getattr(encoding, "separator", None))
    classes = _classes(network, name)
    return Text(Letters(classes), None) if classes and max(map(len, classes)) == 1 else Numbers()


def _classes(network: Network, name: str) -> Sequence[str]:
    """The names of the classes of an input, where its data are a set that is known here."""
    data = network.training.data
    try:
        return (find(data).streams[name].classes or ()) if isinstance(data, str) else ()
    except (DataError, KeyError):
        return ()


def _token(token: object) -> int:
    if not is_whole(token):
        raise DataError(f"{token!r:.60} is no token: expected text, or the numbers of tokens")
    return int(token)  # type: ignore[call-overload,no-any-return]
