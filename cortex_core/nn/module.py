"""`Module`: something with parameters, buffers and a forward.  The names and the rules are PyTorch's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any, NamedTuple, TypeVar

import numpy as np

from cortex_compute.errors import CheckpointError, DTypeError
from cortex_compute.types import DTYPES
from cortex_core.exchange.state import as_arrays
from cortex_core.nn.hooks import Handle, watch_backward
from cortex_core.nn.misfit import misfit
from cortex_core.ops.array import Array
from cortex_core.tensor import Tensor, no_grad

M = TypeVar("M", bound="Module")
Hook = Callable[..., Any]


class Parameter(Tensor):
    """A Tensor that a Module learns: an attribute of that kind is found by `Module.parameters`."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad=requires_grad)

    def __deepcopy__(self, memo: Any) -> Tensor:
        """A copy without the gradient: that of a model is a model to train, as in PyTorch."""
        made = super().__deepcopy__(memo)
        made.grad = None
        return made


class Incompatible(NamedTuple):
    """What `Module.load_state_dict` with ``strict=False`` did not find, and what it had no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """The base of all layers: say ``super().__init__()``, set attributes, write ``forward``.

    Attributes that are Parameters, Modules, or were declared by `register_buffer` are kept in dicts of their
    own, in the order in which they were set.  A buffer is changed by assignment (``self.mean = new``), never
    in place, so that `cortex.trace` sees the new value.
    """

    training: bool

    def __init__(self) -> None:
        for name in ("_parameters", "_buffers", "_modules", "_pre_hooks", "_hooks", "_backward_hooks"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_transient", set())
        object.__setattr__(self, "training", True)

    def forward(self, *args: Any, **keywords: Any) -> Any:
        """What a call computes.  Written in ops, so that the same lines run eagerly and can be traced."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        try:
            if not (self._pre_hooks or self._hooks or self._backward_hooks):
                return self.forward(*args, **keywords)
            return self._call_with_hooks(args, keywords)
        except (AttributeError, DTypeError) as error:
            told = misfit(self, error, (*args, *keywords.values()))
            if told is None:
                raise
            raise told from error

    def _call_with_hooks(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        for hook in list(self._pre_hooks.values()):
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        if self._backward_hooks:
            output = watch_backward(self, list(self._backward_hooks.values()), args, keywords)
        else:
            output = self.forward(*args, **keywords)
        for hook in list(self._hooks.values()):
            changed = hook(self, args, output)
            output = output if changed is None else changed
        return output

    # Attributes

    def __getattr__(self, name: str) -> Any:
        for kept in ("_parameters", "_buffers", "_modules"):
            found = self.__dict__.get(kept, ())
            if name in found:
                return found[name]
        if "_parameters" not in self.__dict__ and not name.startswith("__"):
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before anything else")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.add_module(name, value)
        else:
            for kept, kind in KINDS:
                if name in self.__dict__.get(kept, ()):
                    if value is not None and not isinstance(value, kind):
                        raise TypeError(
                            f"{type(self).__name__}.{name} is a {_called(kind)}; "
                            f"give another one or None, not a {type(value).__name__}"
                        )
                    if isinstance(self.__dict__[kept][name], Tensor) and value is not None:
                        self._expect_numbers(name, value)
                    self.__dict__[kept][name] = value
                    return
            object.__setattr__(self, name, value)

    def _expect_numbers(self, name: str, value: Any) -> None:
        if isinstance(value, Array) and not isinstance(value, Tensor):
            raise TypeError(
                f"{type(self).__name__}.{name} would become a symbolic value: the trace does not know this "
                "module. Trace a module that holds it, or a function that uses it by its own name"
            )

    def __delattr__(self, name: str) -> None:
        for kept in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__[kept]:
                del self.__dict__[kept][name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        kept = (self.__dict__.get(name, ()) for name in ("_parameters", "_buffers", "_modules"))
        return [*super().__dir__(), *(name for names in kept for name in names)]

    def _file(self, kept: str, name: str, value: Any) -> None:
        """Puts ``value`` under ``name`` into one of the dicts, and out of every other place."""
        if kept not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before anything else")
        if not name or "." in name:
            raise KeyError(
                f"{type(self).__name__}: {name!r} cannot be a name; it must not be empty or have a dot"
            )
        self.__dict__.pop(name, None)
        for other in {"_parameters", "_buffers", "_modules"} - {kept}:
            self.__dict__[other].pop(name, None)
        self.__dict__[kept][name] = value

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Makes ``parameter`` the attribute ``name``; None keeps the place without a parameter."""
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(
                f"{type(self).__name__}.{name}: needs a Parameter, not a {type(parameter).__name__}"
            )
        self._file("_parameters", name, parameter)

    def register_buffer(self, name: str, tensor: Any | None, persistent: bool = True) -> None:
        """Makes ``tensor``, which is state but not learnt, the attribute ``name``.

        It is moved and, if ``persistent``, saved with the module.
        """
        if tensor is not None and not isinstance(tensor, Array):
            raise TypeError(f"{type(self).__name__}.{name}: needs a Tensor, not a {type(tensor).__name__}")
        self._file("_buffers", name, tensor)
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Makes ``module`` the attribute ``name``."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}.{name}: needs a Module, not {_instead(module)}")
        self._file("_modules", name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """`add_module` by its other name."""
        self.add_module(name, module)

    # Walks

    def get_submodule(self, target: str) -> Module:
        """The module at the path ``target``, as "layers.0"; "" is this one."""
        found: Any = self
        for name in target.split(".") if target else ():
            if name not in found._modules or found._modules[name] is None:
                known = ", ".join(found._modules) or "none"
                raise AttributeError(
                    f"{type(self).__name__} has no module {target!r}: there is no {name!r} in "
                    f"{type(found).__name__}; known are {known}"
                )
            found = found._modules[name]
        return found  # type: ignore[no-any-return]

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at the path ``target``, as "layers.0.weight"."""
        return self._tensor_at("_parameters", target)  # type: ignore[no-any-return]

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at the path ``target``, as "norm.running_mean"."""
        return self._tensor_at("_buffers", target)  # type: ignore[no-any-return]

    def _tensor_at(self, kept: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = module.__dict__[kept].get(name)
        if found is None:
            known = ", ".join(k for k, x in module.__dict__[kept].items() if x is not None) or "none"
            raise AttributeError(
                f"{type(self).__name__} has no {kept[1:-1]} {target!r}; known in {type(module).__name__} "
                f"are {known}"
            )
        return found

    def named_modules(self, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Module]]:
        """This module and all inside it, each once, with their paths."""
        seen = set() if seen is None else seen
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(_join(prefix, name), seen)

    def modules(self) -> Iterator[Module]:
        """This module and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, each once, with their names."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules directly inside, each once."""
        return (child for _, child in self.named_children())

    def _named(self, kept: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, tensor in module.__dict__[kept].items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield _join(path, name), tensor

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """The parameters, each once, with their paths."""
        return self._named("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once: what an optimiser takes."""
        return (parameter for _, parameter in self.named_parameters("", recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """The buffers, each once, with their paths."""
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        return (buffer for _, buffer in self.named_buffers("", recurse))

    # Modes and conversions

    def train(self: M, mode: bool = True) -> M:
        """Training mode (or, by ``mode=False``, evaluation), here and inside."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Evaluation mode: dropout lets everything through, batch norm uses the running statistics."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Whether the parameters are learnt: ``False`` freezes them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of the parameters, or fills them with 0."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else parameter.grad.detach() * 0.0

    def apply(self: M, f: Callable[[Module], Any]) -> M:
        """Calls ``f`` on every module, those inside first."""
        for child in self.children():
            child.apply(f)
        f(self)
        return self

    def to(self: M, target: object) -> M:
        """Floating parameters and buffers in another data type, or all of them on another backend.

        The Parameters stay the same objects, so that an optimiser that has them goes on.
        """
        changes_type = not isinstance(target, str) or target in DTYPES
        for tensor in itertools.chain(self.parameters(), self.buffers()):
            if not changes_type or tensor.dtype.kind == "float":
                _replace(tensor, tensor.detach().to(target))
                if tensor.grad is not None:
                    tensor.grad = tensor.grad.to(target)
        return self

    def float(self: M) -> M:
        """Floating parameters and buffers in float32."""
        return self.to("float32")

    def double(self: M) -> M:
        """Floating parameters and buffers in float64."""
        return self.to("float64")

    def half(self: M) -> M:
        """Floating parameters and buffers in float16."""
        return self.to("float16")

    def cpu(self: M) -> M:
        """Parameters and buffers on the fastest backend of this machine's CPU."""
        return self.to("cpu")

    # State

    def state_dict(self, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:
        """Path -> parameter or persistent buffer, in PyTorch's order.

        The Tensors share the memory but not the history of the module's; with ``keep_vars`` they are its own.
        A parameter that is used in two places stands under both names.
        """
        state = {}
        for name, tensor in itertools.chain(self._parameters.items(), self._buffers.items()):
            if tensor is not None and name not in self._transient:
                state[prefix + name] = tensor if keep_vars else tensor.detach()
        for name, child in self._modules.items():
            if child is not None:
                state.update(child.state_dict(f"{prefix}{name}.", keep_vars))
        return state

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Incompatible:
        """Copies the numbers of ``state`` into the module's own memory.

        ``state``: path -> Tensor, array, or tensor of PyTorch.  Numbers of another type are cast, but none
        with a fraction to whole ones.  A `CheckpointError` lists what is missing, what is unexpected (neither
        matters without ``strict``), which shapes differ and what holds no such numbers; then nothing is
        changed.
        Not missing are counts of batches, which old files lack, and a parameter of two names that is given
        under one: so safetensors.torch.save_model writes it.
        """
        if not isinstance(state, Mapping):
            raise DTypeError(
                f"load_state_dict: the state is a {type(state).__name__}, expected a dict of Tensors: a file "
                "is read by load_safetensors(path), the state of a module is module.state_dict()"
            )
        own = self.state_dict(keep_vars=True)
        known = {id(tensor) for key, tensor in own.items() if key in state}
        missing = [key for key, tensor in own.items() if id(tensor) not in known and not _is_count(key)]
        found = Incompatible(missing, [key for key in state if key not in own])
        given, wrong = as_arrays({key: state[key] for key in own if key in state})
        numbers = {key: _cast(array, own[key].dtype.storage) for key, array in given.items()}
        for key, array in given.items():
            if array.shape != own[key].shape:
                wrong.append(f"{key} is {array.shape} in the state, {own[key].shape} in the module")
            elif numbers[key] is None:
                wrong.append(f"{key} holds {array.dtype} that is no {own[key].dtype.name}")
        if strict:
            lists = {"missing": found.missing_keys, "unexpected": found.unexpected_keys}
            told = [f"{kind}: {', '.join(map(str, keys))}" for kind, keys in lists.items() if keys]
            wrong = [*told, *wrong]
        if wrong:
            lines = "".join(f"\n  {line}" for line in wrong)
            raise CheckpointError(f"the state does not fit {type(self).__name__}; nothing was loaded:{lines}")
        with no_grad():
            for key, converted in numbers.items():
                own[key].copy_(converted)
        return found

    # Hooks

    def register_forward_pre_hook(self, hook: Hook) -> Handle:
        """``hook(module, args)`` runs before forward; what it returns, if anything, are the new arguments."""
        return Handle.of(self._pre_hooks, hook)

    def register_forward_hook(self, hook: Hook) -> Handle:
        """``hook(module, args, output)`` runs after forward; what it returns, if anything, is the output."""
        return Handle.of(self._hooks, hook)

    def register_full_backward_hook(self, hook: Hook) -> Handle:
        """``hook(module, grad_input, grad_output)`` runs when the gradients of the inputs are known.

        Both are tuples, with None for what has no gradient; what it returns, if anything, is the new
        grad_input.
        """
        return Handle.of(self._backward_hooks, hook)

    # Displays

    def extra_repr(self) -> str:
        """What stands between the brackets of `repr`: the arguments that made this layer."""
        return ""

    def __repr__(self) -> str:
        lines = self.extra_repr().split("\n") if self.extra_repr() else []
        inner = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self._modules.items()]
        if not inner and len(lines) <= 1:
            return f"{type(self).__name__}({''.join(lines)})"
        body = "".join(f"\n  {line}" for line in lines + inner)
        return f"{type(self).__name__}({body}\n)"

    def _repr_html_(self) -> str:
        """A table of the layers that have none inside, with the number of their parameters."""
        rows = []
        for path, module in self.named_modules():
            own = sum(p.size for p in module.parameters(recurse=False))
            if own or not module._modules:
                layer = f"{type(module).__name__}({module.extra_repr()})"
                rows.append((path or "-", layer, f"{own:,}"))
        total = sum(p.size for p in self.parameters())
        rows.append(("", "all, shared ones counted once", f"{total:,}"))
        head = "<tr><th>name</th><th>layer</th><th>parameters</th></tr>"
        cells = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
        return f"<table>{head}{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


KINDS = (("_parameters", Parameter), ("_modules", Module), ("_buffers", Array))


def _instead(given: Any) -> str:
    """What was given for a Module, and what may have been meant."""
    if isinstance(given, type):
        return f"the class {given.__name__}: write {given.__name__}(...)"
    found = f"a {type(given).__name__}"
    if isinstance(given, (list, tuple)):
        return f"{found}: give its modules one by one, by a star before it"
    return f"{found}: functions are called in a forward" if callable(given) else found


def _cast(array: np.ndarray, wanted: Any) -> np.ndarray | None:
    """The numbers in another data type; None where they are none, or that has no such."""
    if array.dtype.kind not in "biuf":
        return None
    with np.errstate(invalid="ignore"):
        found = array.astype(wanted, copy=False)
    return found if found.dtype.kind == "f" or np.array_equal(found, array) else None


def _is_count(key: str) -> bool:
    """Whether this is what PyTorch's normalisations did not save before 0.4.1, and do not miss."""
    return key.rpartition(".")[2] == "num_batches_tracked"


def _called(kind: type) -> str:
    return "Tensor" if kind is Array else kind.__name__


def _replace(tensor: Tensor, new: Tensor) -> None:
    """Gives a leaf the memory of another one, whatever its data type."""
    tensor._data, tensor.type, tensor.machine = new._data, new.type, new.machine


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
