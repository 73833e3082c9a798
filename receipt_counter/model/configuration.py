"""The saved description of a model: InternVL's own config, and what is added around it."""

from __future__ import annotations

from typing import Any

from transformers import InternVLConfig, PretrainedConfig


class ReceiptCounterConfig(PretrainedConfig):  # type: ignore[misc]  # transformers is untyped
    """Everything needed to build a `ReceiptCounter` before its weights are read.

    Args:
        internvl_config: the wrapped InternVL.
        conv_stem: whether convolutions replace the vision tower's patch embedding.
        classes: number of count classes.
        classifier_hidden: widths of the count head's hidden layers.
        classifier_dropout: dropout after each hidden layer.
        classifier_norm: `batch`, `layer` or `none`.
        classifier_activation: `gelu`, `relu` or `silu`.
        cross_attention_heads: heads of the gated cross-attention; 0 = no such block.
        cross_attention_dropout: its dropout.
        initializer_range: standard deviation of the count head's and the cross-attention's first weights.
    """

    model_type = "receipt_counter"
    sub_configs_defaults = {"internvl_config": InternVLConfig}  # noqa: RUF012  # transformers resolves it on the class

    internvl_config: Any = None
    conv_stem: bool = False
    classes: int = 3
    classifier_hidden: list[int] | tuple[int, ...] = (512, 256)
    classifier_dropout: list[float] | tuple[float, ...] = (0.2, 0.1)
    classifier_norm: str = "batch"
    classifier_activation: str = "gelu"
    cross_attention_heads: int = 8
    cross_attention_dropout: float = 0.1
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False
