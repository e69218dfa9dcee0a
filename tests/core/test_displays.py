"""What notebooks show of a tensor, a network and a run."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex_core.summary
from cortex_core.network import Network, network
from cortex_core.tensor import Tensor
from cortex_core.training.history import History
from cortex_core.training.run import Run

NET = {
    "cortex": 1,
    "name": "small",
    "inputs": {"x": [4]},
    "layers": [{"dense": {"units": 3, "id": "hidden"}}, "relu", {"dense": {"units": 2}}],
}


def shown(x: Any) -> tuple[str, list[list[str]]]:
    """The line above the table, and its cells; the text is also proved to be well formed."""
    root = ET.fromstring(f"<all>{x._repr_html_()}</all>")
    rows = [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
    return "".join(root[0].itertext()), rows


def test_a_vector_is_a_row() -> None:
    told, rows = shown(Tensor([1.0, 2.5, -1 / 3], requires_grad=True))
    assert told == "Tensor float32[3]; requires gradient"
    assert rows == [["1", "2.5", "-0.3333"]]


def test_a_result_says_what_made_it() -> None:
    told, rows = shown(Tensor([2.0, 3.0], requires_grad=True).sum())
    assert told == "Tensor float32[]; made by Reduce"
    assert rows == [["5"]]


def test_long_axes_are_cut_in_the_middle() -> None:
    _, rows = shown(Tensor(np.arange(1000).reshape(20, 50)))
    assert len(rows) == len(rows[0]) == 9
    assert rows[0] == ["0", "1", "2", "3", "…", "46", "47", "48", "49"]
    assert rows[4] == ["…"] * 9
    assert rows[8][8] == "999"
    _, rows = shown(Tensor(np.ones((9, 9), bool)))
    assert rows == [["True"] * 9] * 9


def test_of_more_axes_the_first_matrix_is_shown() -> None:
    told, rows = shown(Tensor(np.arange(24).reshape(2, 3, 2, 2)))
    assert told == "Tensor int64[2, 3, 2, 2]; here [0, 0, :, :]"
    assert rows == [["0", "1"], ["2", "3"]]


def test_nothing_to_show_is_no_table() -> None:
    assert shown(Tensor(np.zeros((0, 3)))) == ("Tensor float64[0, 3]", [])


def test_numbers_that_are_gone() -> None:
    loss = Tensor([1.0], requires_grad=True).exp().sum()
    loss.backward()
    told, rows = shown(loss.children[0])
    assert told == "Tensor float32[1]; made by Elementwise; its numbers were given back by backward"
    assert rows == []


def test_gradients_of_some_rows_are_not_put_together() -> None:
    from cortex_core.rows import Rows

    table = Tensor(np.ones((5, 2), np.float32), requires_grad=True)
    table[np.array([1, 3])].sum().backward()
    if isinstance(table.grad, Rows):
        assert shown(table.grad) == ("Tensor float32[5, 2]; holds some rows only", [])
        assert table.grad._whole is None


def test_a_network_is_its_table_of_layers() -> None:
    told, rows = shown(network(NET))
    assert told == "Network small; 23 parameters"
    assert rows[0] == ["id", "layer", "output", "parameters", "MFLOP"]
    assert rows[1][:3] == ["x", "input", "4"]
    assert rows[2][:4] == ["hidden", "dense", "3", "15"]
    assert len(rows) == 5


def test_a_network_that_cannot_be_traced_again_still_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    made = network(NET)

    def fail(_: Any) -> None:
        raise ValueError

    monkeypatch.setattr(cortex_core.summary, "rows", fail)
    assert shown(made) == ("Network small; 23 parameters", [])


def a_run(epochs: int) -> Run:
    rows = [{"epoch": i + 1, "loss": 1 / (i + 1)} for i in range(epochs)]
    return Run(Network.__new__(Network), Path("runs/<a>"), History(rows))


def test_a_run_is_its_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "name", "net")
    told, rows = shown(a_run(3))
    assert told == f"Run net; epochs: 3; in {Path('runs/<a>')}"
    assert rows == [["epoch", "loss"], ["1", "1"], ["2", "0.5"], ["3", "0.3333"]]
    assert len(shown(a_run(100))[1]) == 10
    assert shown(a_run(0))[1] == []
