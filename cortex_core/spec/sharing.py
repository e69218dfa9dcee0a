"""Which parameters belong to which layer: ``share: ID``, and ``share: {kernel: ID/kernel}``."""

from __future__ import annotations

from collections.abc import Mapping

from cortex_core.registry import LAYERS, nearest
from cortex_core.spec.description import ALL
from cortex_core.spec.expand import Entry, Shared
from cortex_core.spec.tree import Node, Problems


class Sharing:
    """Follows what layers share to the layers that own it; reports what cannot be."""

    def __init__(self, entries: Mapping[str, Entry], alias: Mapping[str, str], problems: Problems) -> None:
        self.entries, self.alias, self.problems = entries, alias, problems
        self._told: set[int] = set()  # of a block it is told once
        self._asking: list[str] = []  # layers that wait for an answer
        self._round: set[str] = set()  # layers in a circle: what follows from it is not reported

    def of(self, entry: Entry) -> tuple[tuple[str, str], ...]:
        """The parameters of a layer that are those of another one; see `LayerNode.shared`."""
        found: dict[str, str] = {}
        self._asking.append(entry.id)
        for shared in entry.shared:
            owner = self._owner(shared, entry)
            if owner is None:
                continue
            if shared.parameter == ALL:
                found[ALL] = owner.id
                found |= {k: v for k, v in self.of(owner) if k != ALL}
            else:
                inner = dict(self.of(owner))
                found[shared.parameter] = inner.get(shared.given, f"{owner.id}/{shared.given}")
        self._asking.pop()
        return () if entry.id in self._round else tuple(sorted(found.items()))

    def _owner(self, shared: Shared, entry: Entry) -> Entry | None:
        """The layer that a layer shares with, or the one that this one shares all with, and so on."""
        seen = {entry.id}
        while True:
            owner = self.entries.get(shared.id)
            if self._unread(shared.id):
                return None
            if owner is None or owner.id in (*seen, *self._asking):
                self._refuse(shared, entry, owner)
                return None
            if shared.parameter == ALL and owner.item.kind != entry.item.kind:
                told = f"'{owner.id}' is {owner.item.kind}, '{entry.id}' is {entry.item.kind}"
                self._tell(shared.node, told, "expected two of one kind")
                return None
            whole = next((s for s in owner.shared if s.parameter == ALL), None)
            if whole is None:
                return owner
            seen.add(owner.id)
            shared = Shared(whole.id, whole.taker, shared.node, shared.parameter, shared.given)

    def _unread(self, id_: str) -> bool:
        """Whether a layer, or a block around it, could not be read: what follows from it is not reported."""
        parts = id_.split("/")
        outer = ("/".join(parts[:end]) for end in range(1, len(parts) + 1))
        return any(name in self.entries and self.entries[name].item.kind not in LAYERS for name in outer)

    def _refuse(self, shared: Shared, entry: Entry, owner: Entry | None) -> None:
        if owner is not None:
            told = f"what '{entry.id}' shares comes round to '{owner.id}' again"
            self._tell(shared.node, told, "expected one layer of them without share")
            self._round |= {*self._asking, entry.id, owner.id}
        elif shared.id in self.alias:
            told = f"'{shared.id}' is a block or a repeated layer, which ends with '{self.alias[shared.id]}'"
            self._tell(shared.node, told, "expected one layer")
        elif _before_dot(shared.id) in self.entries and _before_dot(entry.id) in self.alias:
            told = f"'{_before_dot(shared.id)}' is one layer, '{_before_dot(entry.id)}' is repeated"
            self._tell(shared.node, told, "expected a layer that is repeated as often")
        else:
            prefix = entry.id.rpartition("/")[0]
            names = [n.removeprefix(f"{prefix}/") if prefix else n for n in self.entries]
            name = shared.id.removeprefix(f"{prefix}/") if prefix else shared.id
            hint = nearest(name, names)
            told = f"there is no layer '{shared.id}'"
            self._tell(shared.node, told, "" if hint else "expected its id", hint)

    def _tell(self, node: Node, found: str, expected: str, hint: str = "") -> None:
        if id(node) not in self._told:
            self._told.add(id(node))
            self.problems.at(node, found, expected, hint)


def _before_dot(id_: str) -> str:
    """The name of what is repeated: ``u1`` of ``u1.0``."""
    return id_.rpartition(".")[0]
