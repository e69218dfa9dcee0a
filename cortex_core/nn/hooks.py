"""Hooks of modules: how one is taken away again, and how gradients on their way are watched."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from cortex_core.ops.indexing import concatenate, split
from cortex_core.ops.views import reshape
from cortex_core.tensor import Tensor

_numbers = itertools.count()


class Handle:
    """What registering a hook gives: ``remove()`` takes the hook away.  Also a context that does so."""

    def __init__(self, hooks: dict[int, Callable[..., Any]], number: int) -> None:
        self._hooks, self._number = hooks, number

    @classmethod
    def of(cls, hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> Handle:
        """Adds ``hook`` to ``hooks``."""
        number = next(_numbers)
        hooks[number] = hook
        return cls(hooks, number)

    def remove(self) -> None:
        """Takes the hook away; once is enough."""
        self._hooks.pop(self._number, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def watch_backward(
    module: Any, hooks: Sequence[Callable[..., Any]], args: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """Runs ``module.forward`` so that ``hooks`` are called when the gradients of ``args`` are known."""
    places = _differentiable(args)
    grad_output: tuple[Any, ...] = ()

    def call(gradients: Sequence[Any]) -> list[Any]:
        grad_input = _filled(len(args), places, gradients)
        for hook in hooks:
            answer = hook(module, grad_input, grad_output)
            if answer is not None:
                grad_input = answer if isinstance(answer, tuple) else (answer,)
        return [grad_input[i] for i in places]

    given = _gated(args, places, call)
    output = module.forward(*given, **keywords)
    several = isinstance(output, tuple)
    outputs = output if several else (output,)
    ends = _differentiable(outputs)

    def keep(gradients: Sequence[Any]) -> Sequence[Any]:
        nonlocal grad_output
        grad_output = _filled(len(outputs), ends, gradients)
        if not places:
            call([])
        return gradients

    outputs = _gated(outputs, ends, keep)
    return outputs if several else outputs[0]


def _differentiable(tensors: Sequence[Any]) -> list[int]:
    return [i for i, x in enumerate(tensors) if isinstance(x, Tensor) and x.requires_grad]


def _filled(size: int, places: Sequence[int], values: Sequence[Any]) -> tuple[Any, ...]:
    found = dict(zip(places, values))
    return tuple(found.get(i) for i in range(size))


def _gated(
    tensors: tuple[Any, ...], places: Sequence[int], f: Callable[[Sequence[Any]], Sequence[Any]]
) -> tuple[Any, ...]:
    """The tensors, of which those at ``places`` pass through one node: all their gradients go through ``f``.

    One node, so that ``f`` sees them at once: they are laid one behind the other.
    """
    if not places:
        return tensors
    chosen = [tensors[i] for i in places]
    flat = concatenate([reshape(x, (-1,)) for x in chosen])

    def parts(whole: Any) -> list[Any]:
        return [reshape(p, x.shape) for p, x in zip(split(whole, [x.size for x in chosen]), chosen)]

    passed = parts(flat)
    if flat.requires_grad:
        flat.register_hook(lambda g: concatenate([reshape(p, (-1,)) for p in f(parts(g))]))
    return tuple(passed[places.index(i)] if i in places else x for i, x in enumerate(tensors))
