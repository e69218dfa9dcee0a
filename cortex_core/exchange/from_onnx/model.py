"""An ONNX file as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from cortex_compute.frozen import frozen

Dimension = int | str | None
"""A size, the name of one, or one of which nothing is said."""


class Tensor:
    """Numbers of the file, which are read when they are first asked for.

    ``dims`` is the shape, ``read`` gives the array and raises `Unfit` where it cannot.
    """

    def __init__(self, dims: tuple[int, ...], read: Callable[[], np.ndarray]) -> None:
        self.dims = dims
        self._read = read

    @cached_property
    def array(self) -> np.ndarray:
        return self._read()


@frozen
class Refused:
    """An attribute that is not supported, such as a graph within the graph; ``told`` says what it is."""

    told: str


@frozen
class Node:
    """An application of an operator.  Names of inputs and outputs are empty where they are left out.

    ``since`` is the opset of its definition, where that is not the one that the opset of the graph has."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    since: int = 0

    @property
    def kind(self) -> str:
        """The operator with its domain, where that is not ONNX's own."""
        return f"{self.domain}::{self.op}" if self.domain else self.op

    @property
    def called(self) -> str:
        """What people find the node by."""
        return self.name or f"the node that gives {next(filter(None, self.outputs), 'nothing')}"


@frozen
class Port:
    """An input of the graph: ``dtype`` as ONNX calls it, such as FLOAT; a shape of which nothing is said is
    None."""

    name: str
    dtype: str
    shape: tuple[Dimension, ...] | None


@dataclass
class Graph:
    """The graph of a file; ``tensors`` are its initializers by name."""

    nodes: list[Node]
    inputs: list[Port]
    outputs: list[str]
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def consumers(self) -> dict[str, list[Node]]:
        """By the name of a value the nodes that take it, once for each time that they do."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in filter(None, node.inputs):
                found.setdefault(name, []).append(node)
        return found


@frozen
class File:
    """A model: its graph, the version of ONNX's operators that it uses, and what wrote it."""

    graph: Graph
    opset: int
    producer: str
