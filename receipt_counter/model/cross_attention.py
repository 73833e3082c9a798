"""Gated cross-attention: answer states look at the image once more."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GatedCrossAttention(nn.Module):
    """A residual block whose output is multiplied by tanh(gate), with the gate at zero to begin with.

    At step 0 the model is therefore exactly the pretrained one (Alayrac et al. 2022, "Flamingo", section 2.2).

    Args:
        width: channels of the language model's states and of the projected image features.
        heads: attention heads; must divide `width`.
        dropout: dropout of the attention weights and of the block's output.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.state_norm = nn.LayerNorm(width)
        self.feature_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.gate = nn.Parameter(torch.zeros(1))

    def keys_values(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The image side, the same for every answer token: features [B,T,width] -> two of [B,heads,T,width/heads]."""
        both: Tensor = self.key_value(self.feature_norm(features))
        keys, values = both.chunk(2, dim=-1)
        return self._split(keys), self._split(values)

    def forward(self, states: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Adds what the states see in the image.

        Args:
            states: [B,A,width], A states of each image.
            keys: from `keys_values`.
            values: from `keys_values`.

        Returns:
            [B,A,width].
        """
        rate = self.dropout if self.training else 0.0
        queries = self._split(self.query(self.state_norm(states)))
        seen = functional.scaled_dot_product_attention(queries, keys, values, dropout_p=rate)
        out = self.output(seen.transpose(1, 2).flatten(2))
        return states + torch.tanh(self.gate) * functional.dropout(out, rate, self.training)

    def _split(self, states: Tensor) -> Tensor:
        return states.reshape(*states.shape[:-1], self.heads, -1).transpose(1, 2)
