"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from cortex_core.nn.module import Module, Parameter
from cortex_core.tensor import Tensor


class _Listed(Module):
    """Modules named 0, 1, ...; the base of Sequential and ModuleList."""

    def _listed(self) -> list[Any]:
        return list(self._modules.values())

    @overload
    def __getitem__(self, at: int) -> Module: ...
    @overload
    def __getitem__(self, at: slice) -> Any: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            part = type(self)()
            for name in list(self._modules)[at]:
                part.add_module(name, self._modules[name])
            return part
        return self._listed()[at]

    def __setitem__(self, at: int, module: Module) -> None:
        self.add_module(list(self._modules)[at], module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._listed())

    def append(self, module: Module) -> Any:
        """Puts ``module`` at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Puts all ``modules`` at the end."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, at: int, module: Module) -> Any:
        """Puts ``module`` before the one at ``at``; those behind get new names."""
        modules = self._listed()
        modules.insert(at, module)
        self._modules.clear()
        return self.extend(modules)


class Sequential(_Listed):
    """Modules one after the other: each gets what the one before it gave.

    ``Sequential(a, b)``, or ``Sequential({"first": a, "second": b})`` with names.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            self.extend(modules)  # type: ignore[arg-type]

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input


class ModuleList(_Listed):
    """A list of modules, whose parameters are found."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)


class ModuleDict(Module):
    """A dict of modules, whose parameters are found."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Adds all ``modules``, or puts them in the place of those with their names."""
        for name, module in modules.items():
            self[name] = module

    def __getitem__(self, name: str) -> Module:
        return self._modules[name]  # type: ignore[no-any-return]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        del self._modules[name]

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def keys(self) -> Any:
        """The names."""
        return self._modules.keys()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def items(self) -> Any:
        """Names and modules."""
        return self._modules.items()

    def pop(self, name: str) -> Module:
        """Takes the module out."""
        return self._modules.pop(name)  # type: ignore[no-any-return]


class ParameterList(Module):
    """A list of Parameters, which the module that has it finds; other Tensors become Parameters."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__()
        self.extend(values)

    def __getitem__(self, at: int | slice) -> Any:
        found = list(self._parameters.values())[at]
        return ParameterList(found) if isinstance(at, slice) else found

    def __setitem__(self, at: int, value: Any) -> None:
        self.register_parameter(list(self._parameters)[at], _parameter(value))

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(list(self._parameters.values()))

    def append(self, value: Any) -> ParameterList:
        """Puts ``value`` at the end."""
        self.register_parameter(str(len(self)), _parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Puts all ``values`` at the end."""
        for value in values:
            self.append(value)
        return self


def _parameter(value: Any) -> Any:
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value
