"""The blocks that every description knows: those of standard.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from cortex_core.spec.blocks import Block, read_blocks
from cortex_core.spec.read import parse
from cortex_core.spec.tree import Node, Problems

NAMES = ("transformer_encoder", "transformer_decoder", "squeeze_excite")
FILE = Path(__file__).with_name("standard.yaml")


def with_standard(
    blocks: Mapping[str, Block], layers: Iterable[Node], problems: Problems
) -> dict[str, Block]:
    """The blocks of a description, and the standard ones that it names; its own come first."""
    words = set(_words([*layers, *(block.node for block in blocks.values())]))
    wanted = [name for name in NAMES if name in words and name not in blocks]
    if not wanted:
        return dict(blocks)
    known = read_blocks(parse(FILE.read_bytes(), FILE.name, problems), problems)
    return {**blocks, **{name: replace(known[name], standard=True) for name in wanted}}


def _words(nodes: Iterable[Node]) -> Iterator[str]:
    """All texts and keys: a block may stand in the argument of another."""
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node.value, str):
            yield node.value
        elif isinstance(node.value, dict):
            yield from node.value
        todo += (child for _, child in node.children())
