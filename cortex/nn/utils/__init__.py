"""`cortex.nn.utils`: what is done to gradients before a step, parameters as one vector, packed sequences."""

from __future__ import annotations

from cortex.nn.utils import rnn
from cortex_core.nn.vector import parameters_to_vector, vector_to_parameters
from cortex_core.optim.clip import clip_grad_norm_, clip_grad_value_

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "rnn", "vector_to_parameters"]
