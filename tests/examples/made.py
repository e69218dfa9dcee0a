"""Data of the published forms, small: what the examples read, under the names that they read it by."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cortex_core.training.source import Arrays
from cortex_datasets.pairs import PairSet

Draw = np.random.Generator


def titanic(draw: Draw) -> list[str]:
    """891 rows become 200; women survive."""
    lines = ["survived,pclass,name,sex,age,sibsp,parch,ticket,fare,cabin,embarked"]
    for i in range(200):
        woman, age = i % 2, "" if i % 7 == 0 else f"{draw.integers(1, 80)}"
        name, ticket, fare = f'"Doe, Mr. {i}"', f"A/5 {i}", f"{draw.uniform(5, 90):.2f}"
        sex, port = ("male", "female")[woman], "SCQ"[i % 3]
        lines.append(f"{woman},{i % 3 + 1},{name},{sex},{age},{i % 4},{i % 5},{ticket},{fare},,{port}")
    return lines


def adult(draw: Draw, count: int, point: str) -> list[str]:
    """No header, a blank behind each comma, a point behind the test labels; who learned for long earns."""
    made = []
    for i in range(count):
        years = int(draw.integers(1, 17))
        job = "?" if i % 9 == 0 else "Private"
        numbers = [17 + i % 60, job, draw.integers(20_000, 500_000), "HS-grad", years]
        words = ["Divorced", "Sales", "Wife", "White", "Female" if i % 2 else "Male"]
        label = ">50K" if years > 9 else "<=50K"
        rest = [i % 50 * 100, 0, 40 if i % 4 else draw.integers(1, 99), "Cuba", label + point]
        made.append(", ".join(map(str, [*numbers, *words, *rest])))
    return [*made, ""]


def penguins(draw: Draw) -> list[str]:
    """The species differ in their bills, the mass is of the flipper; `NA` is missing."""
    lines = ["species,island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex,year"]
    for i in range(150):
        flipper, bill = draw.integers(172, 231), 38 + 5 * (i % 3) + draw.uniform(-1, 1)
        species, sex = ("Adelie", "Chinstrap", "Gentoo")[i % 3], ("male", "female", "NA")[i % 7 % 3]
        measures = f"{bill:.1f},{draw.uniform(13, 21):.1f},{flipper},{50 * flipper - 6000}"
        measures = "NA,NA,NA,NA" if i == 3 else measures
        lines.append(f"{species},{('Biscoe', 'Dream')[i % 2]},{measures},{sex},{2007 + i % 3}")
    return lines


def write_tables(folder: Path) -> None:
    """The tables, into a folder as CORTEX_DATA names one."""
    draw = np.random.default_rng(0)
    _write(folder / "tabular/titanic.csv", titanic(draw))
    _write(folder / "tabular/adult-train.csv", adult(draw, 600, ""))
    _write(folder / "tabular/adult-test.csv", adult(draw, 100, "."))
    _write(folder / "tabular/penguins.csv", penguins(draw))


def write_texts(folder: Path) -> None:
    """Lines of a play, given names, and sentences about films."""
    draw = np.random.default_rng(0)
    lines = (" ".join(draw.choice(["to", "be", "or", "not", "the", "question:"], 8)) for _ in range(4000))
    _write(folder / "text/tinyshakespeare/input.txt", lines)
    names = ("".join(draw.choice(list("aeimnor"), draw.integers(2, 10))) for _ in range(2000))
    _write(folder / "text/names/names.txt", names)
    for suffix, word in (("pos", "fine"), ("neg", "dull")):
        films = (" ".join(["a", *[word] * draw.integers(1, 12), "film"]) for _ in range(800))
        _write(folder / f"text/rt_polarity/rt-polarity.{suffix}", films)


class Mnist:
    """Pictures whose label is the stripe that is bright, as the data set mnist, or one of another shape."""

    lengths = {"train": 1500, "test": 100}

    def __init__(self, name: str = "mnist", shape: tuple[int, ...] = (28, 28, 1)) -> None:
        self.name, self.shape = name, shape
        self.streams = self.load("test").streams

    def load(self, split: str) -> Arrays:
        draw = np.random.default_rng(len(split))
        label = np.arange(self.lengths[split]) % 10
        image = draw.uniform(0, 0.3, (len(label), *self.shape)).astype(np.float32)
        for i, digit in enumerate(label):
            image[i, 2 * digit + 4 : 2 * digit + 6] += 0.7
        return Arrays({"image": image, "label": label})


def pictures() -> dict[str, Any]:
    """Data sets in place of those that are files of pictures."""
    pairs = PairSet(name="mnist_pairs", doc="", of=Mnist())
    sets = (Mnist(), Mnist("fashion_mnist"), Mnist("cifar10", (32, 32, 3)), pairs)
    return {data.name: data for data in sets}


def _write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
