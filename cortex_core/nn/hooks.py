"""Hooks of modules: how one is taken away again, and how gradients on their way are watched."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

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
    raise NotImplementedError
