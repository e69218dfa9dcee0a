"""``cortex predict``."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cortex.command.common import load_model

if TYPE_CHECKING:
    from cortex_core.network import Network

SHOWN = 20  # examples in the table
WIDTH = 6  # numbers of an example in the table


@click.command("predict")
@click.argument("model", metavar="MODEL")
@click.argument("input", metavar="INPUT")
@click.option(
    "--out", metavar="FILE", help="Writes the outputs as .npy, .npz or .csv instead of printing them."
)
def command(model: str, input: str, out: str | None) -> None:
    """Run a trained network on INPUT: .npy, .npz, .csv, .png or a folder of .png.

    Pictures are scaled to 0..1, grey or RGB as the network takes them. An .npz holds one array for each
    input. A line of a .csv is one example. Class scores are probabilities where the network was trained with
    a cross entropy.

    \b
    Examples:
      cortex predict runs/digits/model.cortex five.png
      cortex predict runs/iris/model.cortex flowers.csv --out classes.csv
    """
    from cortex.command.examples import read_examples

    if out is not None and Path(out).suffix not in (".npy", ".npz", ".csv"):
        raise click.BadParameter(f"{out}: expected .npy, .npz or .csv", param_hint="--out")
    network = load_model(model)
    arrays, names = read_examples(input, network)
    found = network.predict(arrays)
    outputs = found if isinstance(found, dict) else {network.description.outputs[0]: found}
    if out is not None:
        _write(Path(out), outputs)
        return
    for name, values in outputs.items():
        for line in _table(name, values, names, _classes(network, name)):
            print(line)


def _write(path: Path, outputs: dict[str, Any]) -> None:
    """All outputs; .npy and .csv hold one output only, .csv one example in a line."""
    import numpy as np

    from cortex_compute.errors import DataError
    from cortex_core.training.files import write_atomically

    if path.suffix != ".npz" and len(outputs) > 1:
        raise DataError(f"{path}: this network has the outputs {', '.join(outputs)}; write an .npz")
    content = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(content, **outputs)
    else:
        ((name, values),) = outputs.items()
        if path.suffix == ".npy":
            np.save(content, values)
        else:
            rows = values.reshape(len(values), -1)
            header = ",".join(f"{name}.{i}" for i in range(rows.shape[1]))
            np.savetxt(content, rows, "%.9g", ",", header=header, comments="")
    write_atomically(path, content.getvalue())


def _classes(network: Network, output: str) -> Sequence[str]:
    """The names of an output's classes, where the data set of the description is known here."""
    from cortex_compute.errors import DataError
    from cortex_core.training.source import find

    description = network.description
    loss = next((x for x in description.losses if x.of == output), None)
    if loss is None or loss.kind != "softmax_cross_entropy":
        return ()
    data = description.train.data if description.train is not None else None
    try:
        classes = find(data).streams[loss.target].classes if data is not None else None
    except (DataError, KeyError):
        classes = None
    return classes or [str(i) for i in range(network.types[output].shape[-1])]


def _table(name: str, values: Any, names: Sequence[str], classes: Sequence[str]) -> Iterator[str]:
    from cortex_core.summary import align

    rows = [["example", name, "probability"] if classes else ["example", name]]
    for example, value in list(zip(names, values))[:SHOWN]:
        if classes and value.ndim == 1:
            best = int(value.argmax())
            rows.append([example, classes[best], f"{value[best]:.4f}"])
        else:
            flat = value.reshape(-1)
            dots = f" ... ({flat.size} numbers)" if flat.size > WIDTH else ""
            rows.append(
                [example, " ".join(f"{x:.4g}" for x in flat[:WIDTH]) + dots, *([""] if classes else [])]
            )
    yield from align(rows)
    if len(values) > SHOWN:
        yield f"... and {len(values) - SHOWN} more; write all of them with --out FILE"
