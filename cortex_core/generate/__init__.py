"""Sequences that a network continues, token by token.

`text` turns prompts into tokens and tokens into text, `sampling` draws a token from scores, and two engines
give the scores: `steps` computes the newest position alone, from what the layers kept of those before;
`window` computes all of them again.
"""

from __future__ import annotations

from cortex_core.generate.continuation import Continuation, Generation, generate
from cortex_core.generate.model import LanguageModel
from cortex_core.generate.sampling import Sampler

__all__ = ["Continuation", "Generation", "LanguageModel", "Sampler", "generate"]
