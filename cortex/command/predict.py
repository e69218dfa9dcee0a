"""``cortex predict``."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cortex.command.common import load_model

if TYPE_CHECKING:
    from cortex_core.network import Network

Outputs = dict[str, Any]
BATCH = 256
SHOWN = 20  # examples in the table
WIDTH = 6  # numbers of an example in the table


@click.command("predict")
@click.argument("model", metavar="MODEL")
@click.argument("input", metavar="INPUT")
@click.option(
    "--out", metavar="FILE", help="Writes the outputs as .npy, .npz or .csv instead of printing them."
)
def command(model: str, input: str, out: str | None) -> None:
    """Run a trained network on the file or folder INPUT.

    A network that was trained on raw data takes such data as they are, and says what it filled or did not
    know: a table .csv or .parquet; a picture (.png, .jpg, .tif, ...), a folder of them or a .csv that lists
    them; a .txt, each line of it for a reader of lines; an .npz of arrays or sequences.

    A network that was trained on arrays takes .npy; .npz with one array for each input; .csv with an example
    in each line; .png or a folder of .png, scaled to 0..1, grey or RGB as it takes them.

    Class scores are probabilities where the network was trained with a cross entropy.

    \b
    Examples:
      cortex predict runs/digits/model.cortex five.png
      cortex predict runs/iris/model.cortex flowers.csv --out classes.csv
      cortex predict runs/titanic/model.cortex passengers.csv
      cortex predict runs/photos holiday.jpg
    """

    if out is not None and Path(out).suffix not in (".npy", ".npz", ".csv"):
        raise click.BadParameter(f"{out}: expected .npy, .npz or .csv", param_hint="--out")
    network = load_model(model)
    found, names = _raw(network, input) if learned(network) else _arrays(network, input)
    if out is not None:
        _write(Path(out), found, {name: _named(network, name, values) for name, values in found.items()})
        return
    for name, values in found.items():
        for line in _table(name, values, names, _classes(network, name, values)):
            print(line)


def learned(network: Network) -> bool:
    """Whether the network reads raw examples, by what it learned of its data."""
    return network.encoding is not None and getattr(network.training.data, "learns", True)


def _arrays(network: Network, input: str) -> tuple[Outputs, list[str]]:
    from cortex.command.examples import read_examples

    arrays, names = read_examples(input, network)
    found = network.predict(arrays)
    return found if isinstance(found, dict) else {network.description.outputs[0]: found}, names


def _raw(network: Network, input: str) -> tuple[Outputs, list[str]]:
    """The outputs for raw examples, and their names: of files, else their numbers."""
    from cortex_compute.errors import DataError
    from cortex_core.predict import encoded, in_units, predict_source, raw_examples

    examples = raw_examples(network, input)
    source = encoded(network, examples)
    for note in (*examples.notes, *getattr(source, "notes", ())):
        print(f"note: {note}", file=sys.stderr)
    try:
        names = list(map(str, examples.column("file")))
    except DataError:
        names = list(map(str, range(len(examples))))
    return in_units(network, predict_source(network, source, BATCH)), names


def _write(path: Path, outputs: Outputs, classes: dict[str, Sequence[str]]) -> None:
    """All outputs; .npy and .csv hold one output only, .csv one example in a line, its class first."""
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
            content.write(_csv(name, values.reshape(len(values), -1), classes[name]).encode())
    write_atomically(path, content.getvalue())


def _csv(name: str, rows: Any, classes: Sequence[str]) -> str:
    """A line for each example: its numbers, and its class in front where the classes have names."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*([name] if classes else []), *(f"{name}.{c}" for c in classes or range(rows.shape[1]))])
    for row in rows:
        writer.writerow([*([classes[int(row.argmax())]] if classes else []), *(f"{x:.9g}" for x in row)])
    return table.getvalue()


def _named(network: Network, output: str, values: Any) -> Sequence[str]:
    """The names of an output's classes that the network learned from raw data."""
    names = _names(network, output) if learned(network) else ()
    return names if values.ndim == 2 and len(names) == values.shape[1] else ()


def _classes(network: Network, output: str, values: Any) -> Sequence[str]:
    """What the table calls the classes of an output: names, else numbers; none where it gives no classes."""
    from cortex_core.streams import CHOICES

    loss = next((x for x in network.description.compared if x.of == output), None)
    if loss is None or loss.kind not in CHOICES or values.ndim != 2:
        return ()
    names = _names(network, output)
    return names if len(names) == values.shape[1] else [str(i) for i in range(values.shape[1])]


def _names(network: Network, output: str) -> Sequence[str]:
    """The names of an output's classes: as they were learned, or of the data set where it is known here."""
    from cortex_compute.errors import DataError
    from cortex_core.streams import CHOICES
    from cortex_core.training.source import find

    description = network.description
    loss = next((x for x in description.compared if x.of == output), None)
    if loss is None or loss.kind not in CHOICES:
        return ()
    data = description.train.data if description.train is not None else None
    try:
        known = network.encoding if network.encoding is not None else find(data) if data is not None else None
        return (known.streams[loss.target].classes or ()) if known is not None else ()
    except (DataError, KeyError):
        return ()


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
