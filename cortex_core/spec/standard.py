"""The blocks that every description knows: those of standard.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cortex_core.spec.blocks import Block, glimpse, read_blocks
from cortex_core.spec.read import parse
from cortex_core.spec.tree import Node, Problems

NAMES = ("transformer_encoder", "transformer_decoder")
FILE = Path(__file__).with_name("standard.yaml")


def with_standard(
    blocks: Mapping[str, Block], layers: Iterable[Node], problems: Problems
) -> dict[str, Block]:
    """The blocks of a description, and the standard ones that it uses; its own come first."""
    wanted = {kind for kind in _kinds(blocks, layers) if kind in NAMES and kind not in blocks}
    if not wanted:
        return dict(blocks)
    known = read_blocks(parse(FILE.read_bytes(), FILE.name, problems), problems)
    return {**blocks, **{name: known[name] for name in sorted(wanted)}}


def _kinds(blocks: Mapping[str, Block], layers: Iterable[Node]) -> Iterator[str]:
    for item in layers:
        yield glimpse(item)[0]
    for block in blocks.values():
        yield from (glimpse(item)[0] for item in block.layers)
