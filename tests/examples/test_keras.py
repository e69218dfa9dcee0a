"""The descriptions of published Keras models: they can be read, and are of the size that was published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cortex_core.exchange.keras.custom import block_of
from tests.conftest import Cli

KERAS = Path(__file__).parents[2] / "examples" / "keras"


def conv(size: int, into: int, out: int) -> int:
    return (size * into + 1) * out


def fire(into: int, squeeze: int, expand: int) -> int:
    return conv(1, into, squeeze) + conv(1, squeeze, expand) + conv(9, squeeze, expand)


def lstm(into: int, units: int) -> int:
    return 4 * conv(1, into + units, units)


FIRES = [(64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128)]
FIRES += [(256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256)]
FILTERS = [*[200] * 8, *[150] * 3, 100]
UNITS = sum(conv(k, 32, filters) + conv(1, filters, 5) for k, filters in enumerate(FILTERS, 1))
PARAMETERS = {
    # 1,235,496 in all (Iandola et al., 2016: 1.24 M), of which 513 x 1000 make the classes
    "squeezenet": conv(9, 3, 64) + sum(fire(*each) for each in FIRES),
    "deepcut": 178 * 32 + 2 * 32 + UNITS + 12 * 12 + 2 * 49 + conv(1, 21 * 49, 100) + conv(1, 100, 1),
    "mhcnuggets": lstm(21, 64) + conv(1, 64, 64) + conv(1, 64, 1),
    "textgenrnn": 465 * 100 + lstm(100, 128) + lstm(128, 128) + 356 + conv(1, 356, 465),
}


def test_they_are_all_here() -> None:
    assert {path.stem for path in KERAS.glob("*.yaml")} == set(PARAMETERS)
    assert PARAMETERS["squeezenet"] == 1_235_496 - 513_000


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(cli: Cli, tmp_path: Path, name: str) -> None:
    said = cli("check", KERAS / f"{name}.yaml", "--json", tmp_path / "said.json")
    assert said.code == 0, said.out + said.err
    layers = json.loads((tmp_path / "said.json").read_text())["layers"]
    assert sum(layer["parameters"] for layer in layers) == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_fits_on_a_page(name: str) -> None:
    lines = (KERAS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 70
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("path", [*(KERAS / "blocks").glob("*.yaml")], ids=lambda path: path.stem)
def test_blocks_can_be_read(path: Path) -> None:
    assert block_of("x", path).data["layers"]
