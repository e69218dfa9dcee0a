"""What notebooks show of a tensor, a network, a run and a data set."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex_core.summary
from cortex_compute.errors import ShapeError
from cortex_core.network import Network, network
from cortex_core.png import as_bytes, png
from cortex_core.tensor import Tensor
from cortex_core.training.history import History
from cortex_core.training.run import Run
from cortex_core.training.source import Arrays, find
from cortex_datasets.source import ArraySource

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


def curves(run: Run) -> list[tuple[str, list[str]]]:
    """What each small picture says, and its paths."""
    root = ET.fromstring(f"<all>{run._repr_html_()}</all>")
    return [
        ("".join(f.find("figcaption").itertext()), [p.attrib["d"] for p in f.iter("path")])  # type: ignore[union-attr]
        for f in root.iter("figure")
    ]


def with_history(**columns: list[Any]) -> Run:
    rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
    return Run(Network.__new__(Network), Path("run"), History(rows))


def test_a_run_has_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The highest at the top, the first at the left: 228 x 90 pixels with 6 around them."""
    monkeypatch.setattr(Network, "name", "net")
    run = with_history(
        epoch=[1, 2, 3],
        loss=[2.0, 1.0, 0.0],
        seconds=[1.0, 1.0, 1.0],
        f1=[0.5, 0.75, 1.0],
        validation_f1=[0.0, 0.5, 0.5],
    )
    assert curves(run) == [
        ("loss: 0 to 2", ["M6.0 6.0h0L120.0 51.0h0L234.0 96.0h0"]),
        (
            "f1, validation_f1: 0 to 1",
            ["M6.0 51.0h0L120.0 28.5h0L234.0 6.0h0", "M6.0 96.0h0L120.0 51.0h0L234.0 51.0h0"],
        ),
    ]


def test_what_is_not_finite_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "name", "net")
    nan, inf = float("nan"), float("inf")
    ((_, (path,)),) = curves(with_history(loss=[1.0, nan, 0.0, 0.5, inf, None]))
    assert path.count("M") == 2
    assert curves(with_history(loss=[nan, inf])) == []
    assert curves(with_history(loss=[1.0])) == []
    ((told, (path,)),) = curves(with_history(loss=[1.0, 1.0]))
    assert (told, path) == ("loss: 1 to 1", "M6.0 6.0h0L234.0 6.0h0")


def test_names_of_columns_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "name", "<b>")
    name = "<script>&"
    ((told, _),) = curves(with_history(**{name: [1.0, 2.0], f"validation_{name}": [1.0, 2.0]}))
    assert told == "<script>&, validation_<script>&: 1 to 2"


def test_a_run_has_its_confusion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "name", "net")
    run = with_history(epoch=[1], seconds=[3.0])
    run.confusion, run.classes = np.array([[3, 1], [0, 0]]), ("<cat>", "dog")
    _, rows = shown(run)
    assert rows == [["epoch"], ["1"], ["", "<cat>", "dog"], ["<cat>", "3", "1"], ["dog", "0", "0"]]
    colours = [
        td.attrib["style"].rpartition(", ")[2]
        for td in ET.fromstring(f"<a>{run._repr_html_()}</a>").iter("td")
    ]
    assert colours[1:] == ["0.45)", "0.15)", "0.00)", "0.00)"]
    run.confusion, run.classes = np.zeros((30, 30)), ("a",) * 30
    assert len(shown(run)[1]) == 2


def pictures(source: Any) -> list[tuple[str, np.ndarray]]:
    """The captions and the pictures, read by another library."""
    image = pytest.importorskip("PIL.Image")
    found = []
    for figure in ET.fromstring(f"<all>{source._repr_html_()}</all>").iter("figure"):
        src = figure.find("img").attrib["src"]  # type: ignore[union-attr]
        content = base64.b64decode(src.removeprefix("data:image/png;base64,"))
        found.append((figure.findtext("figcaption") or "", np.asarray(image.open(io.BytesIO(content)))))
    return found


def test_a_data_set_tells_its_streams_and_parts() -> None:
    told, rows = shown(find("digits"))
    assert told.startswith("Data set digits; ")
    assert told.endswith("; train: 1,438 examples; test: 359 examples")
    assert rows == [
        ["stream", "shape", "type", "classes"],
        ["image", "8 x 8 x 1", "float32", ""],
        ["label", "scalar", "int64", "10: 0, 1, 2, 3, …, 6, 7, 8, 9"],
    ]


def test_a_source_shows_its_first_pictures() -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 5, 4, 3), np.uint8)
    labels = np.arange(30) % 2
    classes = ("<b>cat</b>", "a dog with a name that is long")
    source = ArraySource({"image": images, "label": labels}, {"label": classes})
    assert repr(source) == "<ArraySource: 30 examples of image, label>"
    told, rows = shown(source)
    assert told == "30 examples"
    assert rows[1:] == [
        ["image", "5 x 4 x 3", "float32", ""],
        ["label", "scalar", "int64", "2: <b>cat</b>, a dog with a name that is long"],
    ]
    found = pictures(source.select(np.arange(3, 30)))
    assert [caption for caption, _ in found] == ["a dog with a name t…", "<b>cat</b>"] * 5
    for (_, picture), wanted in zip(found, images[3:]):
        np.testing.assert_array_equal(picture, wanted)


def test_pictures_are_small_and_within_black_and_white() -> None:
    ramp = np.linspace(-3, 5, 200 * 100, dtype=np.float32).reshape(1, 200, 100, 1)
    ((caption, picture),) = pictures(Arrays({"x": ramp}))
    assert caption == "0"
    assert picture.shape == (50, 25)
    assert (picture.min(), picture[0, 0], picture.max()) == (0, 0, 251)


def test_what_is_no_picture_is_a_table_alone() -> None:
    assert pictures(Arrays({"x": np.zeros((5, 7)), "y": np.zeros((5, 4, 4, 2))})) == []
    assert pictures(Arrays({"x": np.zeros((0, 4, 4, 1))})) == []
    assert shown(Arrays({"x": np.zeros((5, 7))})) == (
        "5 examples",
        [["stream", "shape", "type", "classes"], ["x", "7", "float32", ""]],
    )


def test_a_source_that_fails_still_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Arrays({"x": np.zeros((5, 4, 4, 1))})

    def fail(*_: Any) -> None:
        raise OSError("gone")

    monkeypatch.setattr(Arrays, "gather", fail)
    assert pictures(source) == []
    assert shown(source)[0] == "5 examples"
    assert source._repr_html_().endswith("<div>Its pictures cannot be shown: OSError: gone</div>")


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (7, 5, 3), (64, 64, 3)])
def test_png_is_read_back_by_another_library(shape: tuple[int, ...]) -> None:
    image = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(1)
    for pixels in (generator.integers(0, 256, shape, np.uint8), np.full(shape, 200, np.uint8)):
        np.testing.assert_array_equal(np.asarray(image.open(io.BytesIO(png(pixels)))), pixels)


@pytest.mark.parametrize("shape", [(), (4,), (0, 4), (4, 0), (4, 4, 1), (4, 4, 2), (4, 4, 4), (1, 4, 4, 3)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="is no picture"):
        png(np.zeros(shape, np.uint8))
    with pytest.raises(ShapeError, match=r"float32 \[4, 4\] is no picture"):
        png(np.zeros((4, 4), np.float32))


def test_bytes_of_numbers() -> None:
    assert as_bytes(np.array([0.0, 0.5, 1.0])).tolist() == [0, 128, 255]
    assert as_bytes(np.array([-1.0, 0.0, np.nan, 1.0])).tolist() == [0, 128, 0, 255]
    assert as_bytes(np.array([7, 9], np.uint8)).tolist() == [7, 9]
    assert as_bytes(np.array([np.nan, np.inf])).tolist() == [0, 255]
    assert as_bytes(np.array([0.5, np.nan, 0.9])).tolist() == [128, 0, 230]
    assert as_bytes(np.array([-3e38, 0, 3e38], np.float32)).tolist() == [0, 128, 255]
    assert as_bytes(np.array([-1e300, 1e300, 1.7e308, -1.7e308])).tolist() == [127, 128, 255, 0]
    assert as_bytes(np.array([-1.0, -np.inf, np.inf, 1.0])).tolist() == [0, 0, 255, 255]
    assert as_bytes(np.array([True, False])).tolist() == [255, 0]
