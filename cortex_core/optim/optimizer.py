"""`Optimizer`: parameters in groups with options of their own, the state of each, and how both are kept."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from cortex_compute.errors import ArgumentError, CheckpointError
from cortex_core.modes import enable_grad
from cortex_core.registry import nearest
from cortex_core.tensor import Tensor

BESIDE = frozenset(
    {"params", "param_names", "name", "initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum"}
)
"""What a group may hold beside the optimiser's own options: names, and what schedulers keep there."""

Closure = Callable[[], Any]


class Optimizer:
    """The base of all optimisers.

    ``params`` are Tensors, or pairs (name, Tensor) as `Module.named_parameters` gives them, or dicts
    ``{"params": either, option: value}`` that make one group each;
    ``defaults`` are the options of a group that does not give them.  ``param_groups`` is the list of these
    dicts, ``state`` maps a parameter to the dict of what is kept for it.  A subclass says `step`.

    Raises ArgumentError for no parameters, a parameter that was computed, or one that is given twice, and
    TypeError for an option that the optimiser does not have.
    """

    implied: ClassVar[frozenset[str]] = frozenset()
    """Options of PyTorch's that are always on here."""

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        model = hasattr(params, "parameters")
        if model or isinstance(params, (Tensor, set, frozenset)) or not isinstance(params, Iterable):
            hint = " such as model.parameters()" if model else ""
            raise TypeError(
                f"{self._name}: params is a {type(params).__name__}, expected a list of Tensors{hint}"
            )
        given = list(params)
        if not given:
            raise ArgumentError(
                f"{self._name}: the list of parameters is empty. A generator such as model.parameters() "
                "gives its parameters once: make a list of it to use it twice"
            )
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Adds a group: ``{"params": Tensors, option: value}``; other options are the defaults."""
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f"{self._name}: a group is a dict with the key 'params', got {param_group!r:.60}")
        for option in param_group.keys() - self.defaults.keys() - BESIDE:
            hint = nearest(option, self.defaults) or f"Expected {', '.join(self.defaults)}"
            raise TypeError(f"{self._name} has no option '{option}'. {hint}")
        params = param_group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError(f"{self._name}: params is a set, which has no order, expected a list")
        params = [params] if isinstance(params, Tensor) else list(params)
        named = [p for p in params if isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str)]
        if params and len(named) == len(params):
            names, params = map(list, zip(*named))
            param_group = {**param_group, "param_names": names}
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for i, p in enumerate(params):
            self._expect_parameter(i, p, known)
            known.add(id(p))
        group = {**_options({**self.defaults, **param_group}), "params": params}
        self.expect_options(group)
        self.param_groups.append(group)

    def _expect_parameter(self, i: int, p: Any, known: set[int]) -> None:
        where = f"{self._name}: parameter {i}"
        if not isinstance(p, Tensor):
            raise TypeError(f"{where} is a {type(p).__name__}, expected a Tensor")
        if p.node is not None:
            raise ArgumentError(
                f"{where} ({p.type}) was computed by {p.node.primitive}: only a leaf can be updated. "
                "Give the tensors that it was computed from, or p.detach() with requires_grad"
            )
        if p.data.dtype.kind != "f":
            raise ArgumentError(f"{where} is {p.type}, expected float16, float32 or float64")
        if id(p) in known:
            raise ArgumentError(f"{where} ({p.type}) is given twice: it would be updated twice a step")

    def expect_options(self, group: Mapping[str, Any]) -> None:
        """Raises ArgumentError where the options of a group are out of range."""
        lr = group["lr"]
        if isinstance(lr, bool) or not isinstance(lr, (int, float, np.floating)) or not lr >= 0:
            raise ArgumentError(f"{self._name}: lr is {lr!r:.60}, expected a number of 0 or more")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients, or with ``set_to_none=False`` makes them 0."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = Tensor(np.zeros_like(p.data))

    def step(self, closure: Closure | None = None) -> Any:
        """Updates the parameters that have a gradient.

        ``closure`` computes the loss and its gradients anew; its result is returned.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that is needed to go on: ``{"state": {index: {...}}, "param_groups": [...]}``.

        Parameters are named by their index, counted through all groups.
        """
        parameters = [p for group in self.param_groups for p in group["params"]]
        index = {id(p): i for i, p in enumerate(parameters)}
        return {
            "state": {index[id(p)]: _copied(kept) for p, kept in self.state.items()},
            "param_groups": [
                {**_options(group), "params": [index[id(p)] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave, with the same bits.

        Arrays that are there already are overwritten, so that a traced program sees the new numbers.  Raises
        CheckpointError, and changes nothing, where groups, parameters or shapes differ.
        """
        saved, state = state_dict["param_groups"], dict(state_dict["state"])
        theirs, mine = ([len(g["params"]) for g in groups] for groups in (saved, self.param_groups))
        if theirs != mine:
            raise CheckpointError(
                f"{self._name}: the state is of groups with {theirs} parameters, this optimiser has {mine}"
            )
        groups = [self._merged(group, other) for group, other in zip(self.param_groups, saved)]
        loaded = {
            p: self.read_state(f"{self._name}: the state of parameter {i}", p, state.pop(i), group)
            for group, other in zip(groups, saved)
            for p, i in zip(group["params"], other["params"])
            if i in state
        }
        if state:
            raise CheckpointError(f"{self._name}: there is state for {next(iter(state))!r}, in no group")
        self.param_groups[:] = groups
        for p in [p for p in self.state if p not in loaded]:
            del self.state[p]
        for p, kept in loaded.items():
            _overwrite(self.state[p], kept)

    def _merged(self, group: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
        """A group with loaded options; one that is foreign to this optimiser must be switched off."""
        known = {k: v for k, v in _options(saved).items() if k in self.defaults or k in BESIDE}
        for option in saved.keys() - known.keys() - {"params"}:
            if saved[option] and option not in self.implied:
                raise CheckpointError(
                    f"{self._name} has no option '{option}', the state has {saved[option]!r:.60}"
                )
        merged = {**group, **known}
        self.expect_options(merged)
        return merged

    def read_state(
        self, where: str, p: Tensor, kept: Mapping[str, Any], group: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The state of one parameter from what was saved: arrays must have its shape."""
        read: dict[str, Any] = {}
        for name, value in kept.items():
            if not hasattr(value, "shape"):
                read[name] = value
            elif tuple(value.shape) == p.shape:
                read[name] = Tensor(np.asarray(value).astype(p.data.dtype))
            else:
                raise CheckpointError(f"{where}: {name} has shape {tuple(value.shape)}, expected {p.shape}")
        return read

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            lines += [f"Parameter Group {i}", *(f"    {k}: {v}" for k, v in sorted(_options(group).items()))]
        return "\n".join([f"{self._name} (", *lines, ")"])


def evaluate(closure: Closure | None) -> Any:
    """What a closure gives; its ops are recorded even where those around are not."""
    if closure is None:
        return None
    with enable_grad():
        return closure()


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a group, as plain data that nothing shares."""
    return {name: _plain(value) for name, value in group.items() if name != "params"}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _copied(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {k: Tensor(v.data.copy()) if isinstance(v, Tensor) else copy.deepcopy(v) for k, v in kept.items()}


def _overwrite(state: dict[str, Any], new: Mapping[str, Any]) -> None:
    for name in state.keys() - new.keys():
        del state[name]
    for name, value in new.items():
        old = state.get(name)
        if isinstance(old, Tensor) and isinstance(value, Tensor):
            old.data[...] = value.data
        else:
            state[name] = value
