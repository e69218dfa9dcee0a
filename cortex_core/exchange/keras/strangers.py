"""Files that hold no model of Keras: what they seem to be, and what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Collection

from cortex_core.exchange.recognised import advice

STARTS = {
    b"version https://git-lfs": "it is a pointer of git-lfs in place of the file; get it by `git lfs pull`",
    b"<!doctype html": "it is a page of HTML, which a download gave in place of the file",
    b"<html": "it is a page of HTML, which a download gave in place of the file",
    b"model_checkpoint_path:": "it is of TensorFlow's checkpoints; save the model there as .keras or .h5",
}
TENSORFLOW = re.compile(r".*(\.pb|\.ckpt|\.index|\.data-\d+-of-\d+)")
"""Names of files that have no beginning of their own."""
PYTORCH = "it is of PyTorch, and holds a pickle, which is not read"
NUMPY = "it holds arrays of NumPy, as a recording does, and no model; a recording goes to --outputs"


def hint(path: str | os.PathLike[str], start: bytes) -> str:
    """What to say of a file that begins so; its name says no more than what it may be."""
    if not start:
        return "it is empty; get it again"
    for beginning, told in STARTS.items():
        if start.lstrip().lower().startswith(beginning):
            return told
    if TENSORFLOW.fullmatch(os.fspath(path)):
        return "by its name it is of TensorFlow; save the model there as .keras or .h5"
    return advice(path, but="keras") or "pickles and other formats are not read"


def of_archive(members: Collection[str]) -> str:
    """What an archive with these members is, where ``torch.save`` or ``numpy.savez`` writes such."""
    if any(name.endswith("/data.pkl") for name in members):
        return PYTORCH
    return NUMPY if members and all(name.endswith(".npy") for name in members) else ""
