"""Five hundred single mistakes in good descriptions: each is named on the right line, or is none.

A key or value of an example is deleted, renamed, given another type or written twice.  Where keys and values
stand is known from PyYAML's own nodes, not from the reader under test.  Which lines may be named is decided
by the mutation: the changed line, the line of what now lacks something, and lines that use what is gone.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import pytest
import yaml

from cortex_core.spec import inspect
from tests.core.spec.reading import EXAMPLES

REQUIRED = {"inputs", "layers", "filters", "kernel", "units", "tokens", "width"}
FREE = (("parameters",), ("files",), ("columns",))  # mappings whose keys are names of the user's own
FEATURES = """\
cortex: 1
name: features
inputs:
  words: {shape: [null], dtype: int64}
  side: {shape: [4]}
blocks:
  piece:
    parameters: {width: null, rate: 0.1}
    layers:
      - dense: {units: $width, activation: {leaky_relu: {slope: 0.2}}}
      - dropout: $rate
layers:
  - embedding: {tokens: 1000, units: 16, from: words}
  - global_avg_pool1d: {id: text}
  - concatenate: {from: [text, side]}
  - piece: {width: 32, id: p, repeat: 2}
  - [dense, 8, {penalty: {l2: 0.001}, trainable: false, learning_rate: 0.5}]
  - dense: {units: 3, id: kind, kernel_initializer: {normal: {std: 0.1}}}
  - dense: {units: 1, id: size, activation: sigmoid, from: p}
loss:
  - softmax_cross_entropy: {of: kind, target: label, label_smoothing: 0.1}
  - binary_cross_entropy: {of: size, target: large, weight: 0.5, name: big}
outputs: [kind, size]
train:
  optimizer: {sgd: {learning_rate: 0.1, momentum: 0.9, nesterov: true}}
  schedule: {cosine: {warm_up: 1}}
  batch_size: 32
  clip_norm: 1.0
  early_stopping: {monitor: validation_loss, patience: 2}
  metrics: [{accuracy: {of: kind, target: label}}, {top_k: {k: 2, of: kind, target: label}}]
"""
TEXTS = {"features.yaml": FEATURES, **{file.name: file.read_text() for file in EXAMPLES}}


Mutation = tuple[str, set[int], Union[bool, None]]


@dataclass
class Pair:
    """A key and its value in one line of the text, and the line of the mapping that owns it."""

    key: Any
    value: Any
    owner_line: int
    flow: bool
    inside: tuple[str, ...]


def pairs(text: str) -> list[Pair]:
    """Every pair of a key and a value; those of several lines too."""
    found: list[Pair] = []

    def walk(node: Any, owner_line: int, inside: tuple[str, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                found.append(Pair(key, value, owner_line, bool(node.flow_style), inside))
                walk(value, key.start_mark.line + 1, (*inside, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                walk(item, item.start_mark.line + 1, inside)

    walk(yaml.compose(text, Loader=yaml.SafeLoader), 1, ())
    return found


def cut(text: str, start: int, end: int, put: str = "") -> str:
    return text[:start] + put + text[end:]


def lines_with(text: str, *words: str) -> set[int]:
    """The lines in which one of the words stands."""
    pattern = re.compile(r"(?<![\w])(" + "|".join(map(re.escape, words)) + r")(?![\w])")
    return {number for number, line in enumerate(text.splitlines(), start=1) if pattern.search(line)}


def gone(text: str, pair: Pair) -> set[int]:
    """The lines that use a name which the pair gives: an input, a block, an id, what a loss is of; or that
    give what it takes, which then nobody may take."""
    names = ids_in(pair.value)
    if pair.inside in (("inputs",), ("blocks",)) or pair.inside[-1:] == ("parameters",):
        names += [pair.key.value, "$" + pair.key.value]
    if pair.key.value in ("inputs", "blocks", "parameters") and isinstance(pair.value, yaml.MappingNode):
        names += [prefix + key.value for key, _ in pair.value.value for prefix in ("", "$")]
    if pair.key.value in ("id", "from") and isinstance(pair.value, yaml.ScalarNode):
        names.append(pair.value.value)
    if pair.inside[:1] == ("loss",) or pair.key.value == "loss":
        names.append("metrics")
    return lines_with(text, *names) if names else set()


def ids_in(node: Any) -> list[str]:
    """The ids that a piece of a description gives."""
    if isinstance(node, yaml.SequenceNode):
        return [name for item in node.value for name in ids_in(item)]
    if not isinstance(node, yaml.MappingNode):
        return []
    own = [value.value for key, value in node.value if key.value == "id"]
    return own + [name for _, value in node.value for name in ids_in(value)]


def delete(text: str, pair: Pair) -> Mutation:
    """The text without the pair, the lines that may be named, and whether it must be wrong (None: may be)."""
    start, end = pair.key.start_mark.index, pair.value.end_mark.index
    used = gone(text, pair)
    wrong = True if pair.key.value in REQUIRED and pair.inside[:2] != ("train", "data") else None
    if pair.flow:
        after = re.match(r"\s*,\s*", text[end:])
        before = re.search(r",\s*$", text[:start])
        end += after.end() if after else 0
        start = before.start() if before and not after else start
        return cut(text, start, end), {pair.owner_line} | used, wrong
    first = text.rfind("\n", 0, start) + 1
    removed = len(text[first:end].rstrip().splitlines())
    line_end = text.find("\n", len(text[:end].rstrip()))
    moved = {n - removed if n > pair.key.start_mark.line else n for n in used}
    made = cut(text, first, line_end + 1)
    owner = pair.owner_line if pair.inside else yaml.compose(made).start_mark.line + 1
    return made, {owner} | moved, wrong


def rename(text: str, pair: Pair) -> Mutation:
    mark = pair.key.end_mark.index
    here = {pair.key.start_mark.line + 1}
    free = pair.inside in (("inputs",), ("blocks",)) or pair.inside[-1:] in FREE
    return cut(text, mark, mark, "x"), here | (gone(text, pair) if free else set()), None if free else True


def retype(text: str, pair: Pair) -> Mutation:
    node = pair.value
    if isinstance(node, yaml.ScalarNode) or node.flow_style:
        lines = {pair.key.start_mark.line + 1, node.start_mark.line + 1} | gone(text, pair)
        wrong = None if pair.inside[-1:] == ("parameters",) else True
        return cut(text, node.start_mark.index, node.end_mark.index, "[[]]"), lines, wrong
    return text, set(), None


def duplicate(text: str, pair: Pair) -> Mutation:
    start, end = pair.key.start_mark.index, pair.value.end_mark.index
    piece = text[start:end].rstrip()
    if pair.flow:
        return cut(text, start, start, f"{piece}, "), {pair.key.start_mark.line + 1}, True
    indent = " " * pair.key.start_mark.column
    line = pair.key.start_mark.line + 1 + len(piece.splitlines())
    return cut(text, start, start, f"{piece}\n{indent}"), {line}, True


def mutate(seed: int) -> tuple[str, str, set[int], bool | None, str]:
    rng = random.Random(seed)
    while True:
        name = rng.choice(sorted(TEXTS))
        pair = rng.choice(pairs(TEXTS[name]))
        change = rng.choice((delete, rename, retype, duplicate))
        text, lines, wrong = change(TEXTS[name], pair)
        if text != TEXTS[name]:
            return name, text, lines, wrong, f"{change.__name__} {'.'.join((*pair.inside, pair.key.value))}"


@pytest.mark.parametrize("name", TEXTS)
def test_the_descriptions_are_good(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(TEXTS[name])
    assert inspect(file)[1] == []


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_each_mutation_is_named_on_the_right_line_or_still_valid(block: int, tmp_path: Path) -> None:
    for seed in range(50 * block, 50 * block + 50):
        name, text, lines, wrong, what = mutate(seed)
        file = tmp_path / name
        file.write_text(text)
        description, problems = inspect(file)
        about = f"seed {seed}, {name}, {what}: {[str(problem) for problem in problems]}\n{text}"
        assert {problem.place.line for problem in problems} <= lines, about
        if wrong:
            assert problems, about
        if not problems:
            assert description is not None, about
            assert inspect(description.canonical)[0] == _without_places(description), about


@pytest.mark.slow
def test_most_mutations_are_wrong(tmp_path: Path) -> None:
    """The test above would also pass if nothing were ever said."""
    wrong = [mutate(seed)[3] for seed in range(500)]
    assert wrong.count(True) > 250


def _without_places(description: Any) -> Any:
    read_again = inspect(description.canonical)[0]
    assert read_again is not None
    assert read_again.hash == description.hash
    return read_again
