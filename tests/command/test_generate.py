"""``cortex generate``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cortex
from tests.conftest import Cli

NAMES = """\
cortex: 1
name: names
inputs: {text: auto}
layers:
  - embedding: {tokens: 9, units: 8}
  - gru: {units: 16, return: sequence}
  - dense: {units: 9, id: letter}
loss:
  softmax_cross_entropy: {of: letter, target: next, ignore_index: 0}
train:
  data: {lines: names.txt}
  batch_size: 5
"""
NUMBERS = """\
inputs: {text: {shape: [4], dtype: int64}}
layers:
  - embedding: {tokens: 5, units: 8}
  - multi_head_attention: {heads: 2, causal: true}
  - dense: {units: 5, id: scores}
"""
DATES = """\
inputs: {source: auto, target_in: auto}
layers:
  - embedding: {tokens: 45, units: 8, mask_zero: true, from: source, id: letters}
  - gru: {units: 8, return: both, mask: letters.mask, id: encoder}
  - embedding: {tokens: 13, units: 8, from: target_in}
  - gru: {units: 8, return: sequence, initial: encoder.last, id: decoder}
  - multi_head_attention: {heads: 2, mask: letters.mask, from: [decoder, encoder]}
  - dense: {units: 13, id: character}
loss:
  softmax_cross_entropy: {of: character, target: target}
train: {data: dates}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run over lines of text."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "names.txt").write_text("anna\nmaria\nnora\nmiriam\nramon\n" * 4)
    (folder / "names.yaml").write_text(NAMES)
    cortex.train(folder / "names.yaml", out=folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that learned no text."""
    folder = tmp_path_factory.mktemp("numbers")
    (folder / "net.yaml").write_text(NUMBERS)
    cortex.network(folder / "net.yaml").save(folder / "net.cortex")
    return folder / "net.cortex"


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that reads one sequence and writes another, in the characters of its data."""
    folder = tmp_path_factory.mktemp("dates")
    (folder / "net.yaml").write_text(DATES)
    cortex.network(folder / "net.yaml").save(folder / "net.cortex")
    return folder / "net.cortex"


OPTIONS = ("--tokens", 30, "--temperature", 0.8, "--top-k", 5, "--top-p", 0.9, "--seed", 7)


def test_prints_the_prompt_and_what_follows(cli: Cli, run: Path) -> None:
    made = cortex.generate(cortex.load(run / "model.cortex"), "mar", 30, 0.8, 5, 0.9, 7)
    for model in (run, run / "model.cortex"):
        said = cli("generate", model, "--prompt", "mar", *OPTIONS)
        assert said == (0, f"mar{made.text}\n", "")
    assert cli("generate", run, "--prompt", "mar", *OPTIONS, "--no-cache").out == said.out
    assert cli("generate", run, "--prompt", "mar", *OPTIONS, "--seed", 8).out != said.out


def test_a_line_begins_by_itself(cli: Cli, run: Path) -> None:
    said = cli("generate", run, "--tokens", 40)
    assert said.code == 0
    assert len(said.out) == 41


def test_stop_ends_it(cli: Cli, run: Path, numbers: Path) -> None:
    whole = cli("generate", run, "--prompt", "mar", "--tokens", 200).out
    said = cli("generate", run, "--prompt", "mar", "--tokens", 200, "--stop", "\n")
    assert said == (0, whole.split("\n")[0] + "\n", "")
    assert len(said.out) < len(whole)
    options = ("--prompt", "3,1", "--tokens", 9, "--temperature", 0)
    first = cli("generate", numbers, *options).out.split()[1]
    assert cli("generate", numbers, *options, "--stop", first).out == "3,1\n"
    said = cli("generate", run, "--stop", "mar")
    assert (said.code, said.out) == (2, "")
    assert "stop is 'mar', which is 3 tokens: expected one" in said.err


def test_numbers(cli: Cli, numbers: Path) -> None:
    said = cli("generate", numbers, "--prompt", "3,1", "--tokens", 9, "--temperature", 0)
    made = cortex.generate(cortex.load(numbers), [3, 1], 9, 0)
    assert said == (0, "3,1 " + " ".join(map(str, made.tokens)) + "\n", "")


def test_another_sequence_is_given_as_a_whole(cli: Cli, dates: Path) -> None:
    options = ("--prompt", "^", "--tokens", 10, "--temperature", 0.02)
    said = cli("generate", dates, "--input", "source=3.5.1998", *options)
    assert (said.code, said.err) == (0, "")
    written = ("", *" ,-./0123456789ADFJMNOSTWabcdeghilmnoprstuvy")
    source = [written.index(character) for character in "3.5.1998"] + [0] * 20
    made = cortex.generate(cortex.load(dates), [1], 10, 0.02, inputs={"source": source})
    assert said.out == "^" + "".join("_^-0123456789"[token] for token in made.tokens) + "\n"
    assert cli("generate", dates, "--input", "source=May 3, 1998", *options).out != said.out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "net has the inputs source, target_in: give one example of each but the one that grows"),
        ((), "on the command line --input NAME=TEXT"),
        (("--input", "source"), "source: expected NAME=TEXT"),
        (("--input", "sauce=1"), "net has no input 'sauce'; its inputs are source, target_in"),
        (("--input", "source="), "input 'source' is empty: expected one token at least"),
        (("--input", "source=1 Junk"), "'k', at character 6 of 'source', is not among the 45 tokens"),
        (("--input", f"source={'1' * 29}"), "input 'source' has shape (1, 29), expected (examples, 28)"),
        (("--input", "source=1", "--input", "target_in=1"), "the one that grows"),
        (("--input", "source=1", "--input", "source=2"), "source=2: source is given twice"),
    ],
)
def test_wrong_inputs(cli: Cli, dates: Path, given: tuple[str, ...], message: str) -> None:
    said = cli("generate", dates, *given, "--prompt", "^")
    assert (said.code, said.out) == (2, "")
    assert message in said.err


def test_json(cli: Cli, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    said = cli("generate", run, "--prompt", "mar", *OPTIONS, "--json", path)
    found = json.loads(path.read_text())
    assert said.out == found["prompt"] + found["text"] + "\n"
    tokens = cortex.load(run / "model.cortex").encoding.vocabulary.tokens  # type: ignore[union-attr,attr-defined]
    assert "".join(tokens[token] for token in found["tokens"]) == found["text"]
    assert len(found["log_probabilities"]) == 30
    assert all(math.log(1e-9) < log <= 0 for log in found["log_probabilities"])
    options = {name: found[name] for name in ("temperature", "top_k", "top_p", "seed")}
    assert options == {"temperature": 0.8, "top_k": 5, "top_p": 0.9, "seed": 7}
    said = cli("generate", run, "--prompt", "mar", *OPTIONS, "--json", "-")
    assert json.loads(said.out) == found
    assert said.err == found["prompt"] + found["text"] + "\n"


def test_what_needs_all_positions_says_so(cli: Cli, tmp_path: Path) -> None:
    turned = NUMBERS.replace(
        "multi_head_attention: {heads: 2, causal: true}", "permute: [2, 1]\n  - permute: [2, 1]"
    )
    (tmp_path / "net.yaml").write_text(turned)
    cortex.network(tmp_path / "net.yaml").save(tmp_path / "net.cortex")
    said = cli("generate", tmp_path / "net.cortex", "--prompt", "1", "--tokens", 3)
    assert said.code == 0
    assert said.err.startswith("note: all positions are computed for each token: 'permute' (permute) needs")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--prompt", "Anna"), "'A', at character 1 of the prompt, is not among the 9 tokens that this"),
        (("--prompt", "an\tna"), "'\\t', at character 3 of the prompt"),
        (("--temperature", -1), "temperature is -1.0: expected a number, at least 0"),
        (("--temperature", "nan"), "temperature is nan"),
        (("--temperature", "hot"), "'hot' is not a valid float"),
        (("--top-k", -2), "top_k is -2: expected a whole number, at least 0"),
        (("--top-p", 0), "top_p is 0.0: expected a number above 0 and at most 1"),
        (("--top-p", 1.5), "top_p is 1.5"),
        (("--tokens", 0), "tokens is 0: expected a whole number, at least 1"),
        (("--seed", -1), "seed is -1: expected a whole number from 0 to 2**64 - 1"),
        (("--backend", "abacus"), "abacus"),
    ],
)
def test_wrong_options(cli: Cli, run: Path, options: tuple[object, ...], message: str) -> None:
    said = cli("generate", run, "--tokens", 5, *options)
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "the prompt is empty, and net has no token to begin with"),
        (
            ("--prompt", "one"),
            "learned no text; expected the numbers of tokens, such as 3,14,15",
        ),
        (("--prompt", "1,5"), "has token 5, the tokens of 'embedding' are 0 to 4"),
        (
            ("--prompt", "1,2,3,4,1"),
            "the prompt has 5 tokens, the context of net is 4: give a",
        ),
    ],
)
def test_wrong_prompts(cli: Cli, numbers: Path, options: tuple[str, ...], message: str) -> None:
    said = cli("generate", numbers, *options)
    assert (said.code, said.out) == (2, "")
    assert message in said.err


def test_what_is_no_model_of_language(cli: Cli, tmp_path: Path) -> None:
    cortex.network({"inputs": {"features": [4]}, "layers": [{"dense": 3}]}).save(tmp_path / "iris.cortex")
    said = cli("generate", tmp_path / "iris.cortex", "--prompt", "1")
    wrong = "input 'features' is float32 [4]: expected tokens, int64 [length]\n"
    assert (said.code, said.err) == (2, wrong)
    said = cli("generate", "nowhere", "--prompt", "1")
    assert said.code == 2
    assert "nowhere: there is no such model" in said.err


def test_a_network_that_diverged(cli: Cli, run: Path, tmp_path: Path) -> None:
    network = cortex.load(run / "model.cortex")
    network.parameters["letter/bias"] = np.full(9, np.nan)
    network.save(tmp_path / "net.cortex")
    said = cli("generate", tmp_path / "net.cortex", "--prompt", "an")
    assert said.code == 2
    assert "the network has diverged" in said.err


def command(run: Path) -> list[str]:
    return [sys.executable, "-m", "cortex", "generate", str(run), "--prompt", "an", "--tokens", "100000000"]


def test_ctrl_c_ends_the_line(run: Path) -> None:
    process = subprocess.Popen(command(run), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.read(20).startswith("an")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "interrupted\n")
    assert out.endswith("\n")


def test_a_reader_that_goes_away_is_no_error(run: Path) -> None:
    read, write = os.pipe()
    process = subprocess.Popen(command(run), stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert os.read(read, 2) == b"an"
    os.close(read)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, "")
