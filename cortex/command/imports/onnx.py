"""``cortex import onnx``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from cortex.command.common import json_option, people, say, write_json
from cortex.command.imports.places import FROM, expect_apart, expect_own, model_option, places_of


@click.command("onnx")
@click.argument("model", metavar="FILE")
@model_option
@json_option
def command(model: str, out: str, json_file: str | None) -> None:
    """Turn an ONNX model into a description with weights.

    FILE is a model for inference, such as torch.onnx.export writes. All operators that are not supported are
    told at once.

    Writes NAME.cortex, NAME.yaml (the description alone) and NAME.report.json, all of them or none. A
    NAME.yaml that is there and says anything else is not written over. Nothing in the file is executed.
    Exit codes: 0 imported; 2 wrong input, and nothing is written.

    \b
    Example:
      cortex import onnx model.onnx -o model.cortex
    """
    from cortex_core.exchange.from_onnx.imported import load
    from cortex_core.training.checkpoint import image
    from cortex_core.training.files import write_together

    places = places_of(Path(out), json_file)
    expect_apart(places, [model], Path(model))
    found = load(model)
    expect_own(places[1], Path(model), found.yaml)
    report = found.report()
    text = f"{FROM}{found.file}.\n{found.yaml}"
    told = (json.dumps(report, indent=2) + "\n").encode()
    write_together(dict(zip(places, (image(found.network), text.encode(), told, told))))
    if json_file == "-":
        write_json(json_file, report)
    for note in found.notes:
        say(f"note: {note}", sys.stderr)
    say(found.network.summary(), people(json_file))
    say(f"{out}: written", people(json_file))
