"""``cortex generate``."""

from __future__ import annotations

import sys

import click

from cortex.command.common import backend_option, json_option, load_model, people, say, write_json


@click.command("generate")
@click.argument("model", metavar="MODEL")
@click.option("--prompt", default="", metavar="TEXT", help="What the text begins with.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=TEXT",
    help="Of a network with several inputs: one that is given as a whole.",
)
@click.option("--tokens", default=200, metavar="N", help="How many tokens to add (200).")
@click.option(
    "--temperature",
    default=1.0,
    metavar="T",
    help="Divides the scores: below 1 bolder in what is likely, 0 always the best (1).",
)
@click.option("--top-k", type=int, metavar="K", help="Draws from the K most probable tokens.")
@click.option(
    "--top-p", type=float, metavar="P", help="Draws from the fewest tokens that hold the probability P."
)
@click.option("--stop", metavar="TEXT", help="The one token at which to end; no part of the text.")
@click.option("--seed", default=0, metavar="N", help="The same seed gives the same text (0).")
@click.option("--cache/--no-cache", default=True, help="Whether layers keep what they know of the text.")
@backend_option
@json_option
def command(
    model: str,
    prompt: str,
    inputs: tuple[str, ...],
    tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    stop: str | None,
    seed: int,
    cache: bool,
    backend: str,
    json_file: str | None,
) -> None:
    """Let a trained network continue a text, token by token.

    MODEL is a .cortex file, or the folder of a run. The prompt is written as the training text was; a network
    that learned no text takes and gives numbers. One that learned lines begins a new line without a prompt.

    \b
    Examples:
      cortex generate runs/shakespeare --prompt "ROMEO:" --tokens 500 --temperature 0.8
      cortex generate runs/names --tokens 100 --top-p 0.9 --seed 7
      cortex generate runs/dates --input source="3 March 1998" --prompt ^ --tokens 10 --temperature 0
    """
    from cortex_core.generate import Continuation, LanguageModel, Sampler

    sampler = Sampler(temperature, top_k, top_p, seed)
    language = LanguageModel(load_model(model), _named(inputs))
    made = Continuation(language, prompt, tokens, sampler, cache, stop, backend)
    for note in made.notes:
        print(f"note: {note}", file=sys.stderr)
    file = people(json_file)
    try:
        say(prompt, file, end="")
        for piece in made:
            say(piece, file, end="")
            file.flush()
    finally:
        say("", file)
    found = made.generation
    write_json(
        json_file,
        {
            "prompt": found.prompt,
            "text": found.text,
            "tokens": found.tokens,
            "log_probabilities": found.log_probabilities,
            **{"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed},
        },
    )


def _named(given: tuple[str, ...]) -> dict[str, str]:
    """The texts of several NAME=TEXT, by name."""
    found: dict[str, str] = {}
    for one in given:
        name, sign, text = one.partition("=")
        if not sign:
            raise click.BadParameter(f"{one}: expected NAME=TEXT", param_hint="--input")
        if name in found:
            raise click.BadParameter(f"{one}: {name} is given twice", param_hint="--input")
        found[name] = text
    return found
