"""The model: InternVL, a count head and gated cross-attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, InternVLForConditionalGeneration, PreTrainedModel, initialization

from receipt_counter.model.configuration import ReceiptCounterConfig
from receipt_counter.model.conv_stem import ConvStem
from receipt_counter.model.count_head import CountHead
from receipt_counter.model.cross_attention import GatedCrossAttention
from receipt_counter.model.generation import answer_questions
from receipt_counter.model.packing import IGNORED, PackedBatch

if TYPE_CHECKING:
    from receipt_counter.model.processor import ReceiptProcessor

COMPONENTS = ("vision", "projector", "language", "cross_attention", "head")


@dataclass
class Losses:
    """What one batch of B images gives.

    Args:
        cls_loss: cross-entropy of the count, mean over images.
        lm_loss: cross-entropy of the answers, mean over all answer tokens of the batch (0 if there are none).
        count_logits: [B,classes].
        answer_tokens: how many answer tokens there are, end tokens included.
        token_nll: [B], each image's summed negative log-likelihood of its answer tokens (natural log), detached.
        tokens: [B], how many answer tokens each image has.
    """

    cls_loss: Tensor
    lm_loss: Tensor
    count_logits: Tensor
    answer_tokens: int
    token_nll: Tensor
    tokens: Tensor


class ReceiptCounter(PreTrainedModel):  # type: ignore[misc]  # transformers is untyped
    """InternVL that also counts.

    Args:
        config: its description; weights are random until they are loaded.
    """

    config_class = ReceiptCounterConfig
    base_model_prefix = ""
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: ReceiptCounterConfig) -> None:
        super().__init__(config)
        inner = config.internvl_config
        self.internvl = InternVLForConditionalGeneration(inner)
        vision = inner.vision_config
        if config.conv_stem:
            embeddings = self.internvl.model.vision_tower.embeddings
            embeddings.patch_embeddings = ConvStem(vision.num_channels, vision.hidden_size, vision.patch_size[0])
        self.head = CountHead(
            vision.hidden_size,
            hidden=config.classifier_hidden,
            dropout=config.classifier_dropout,
            norm=config.classifier_norm,
            activation=config.classifier_activation,
            classes=config.classes,
        )
        self.cross_attention = None
        if config.cross_attention_heads:
            width = inner.text_config.hidden_size
            self.cross_attention = GatedCrossAttention(
                width, config.cross_attention_heads, config.cross_attention_dropout
            )
        self.post_init()
        if config.conv_stem:
            embeddings = self.internvl.model.vision_tower.embeddings
            embeddings.patch_embeddings.reset_parameters()
            # transformers leaves positions at zero, for weights to be loaded over them
            nn.init.normal_(embeddings.position_embeddings, std=vision.initializer_range)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, GatedCrossAttention):
            # Its own parameter, unknown to transformers: without this it is uninitialised after `from_pretrained`.
            initialization.zeros_(module.gate)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ReceiptCounter:
        """Keeps the rotary frequencies in float32 when the model is cast: in bfloat16 positions would blur."""
        rotary = self.internvl.model.language_model.rotary_emb
        exact = {name: buffer for name, buffer in rotary.named_buffers(recurse=False) if not buffer.is_meta}
        super()._apply(fn, recurse)
        for name, buffer in exact.items():
            setattr(rotary, name, buffer.to(getattr(rotary, name).device))
        return self

    def forward(self, batch: PackedBatch) -> Losses:
        """Computes both losses of a packed batch, encoding each image once.

        Args:
            batch: from `ReceiptProcessor.pack`.

        Returns:
            The losses and what they were made of.
        """
        patches, features = self.encode_images(batch.pixel_values)
        count_logits = self.head(patches)
        states = self.read(
            self.embed(batch.input_ids, features, batch.image_start), batch.attention_mask, batch.position_ids
        )
        row, column = (batch.labels != IGNORED).nonzero(as_tuple=True)
        targets = batch.labels[row, column]
        answer_states = self.look(states[row, column], row, features)
        nll = functional.cross_entropy(self.internvl.lm_head(answer_states).float(), targets, reduction="none")
        tokens = torch.bincount(row, minlength=len(features))
        return Losses(
            cls_loss=functional.cross_entropy(count_logits.float(), batch.counts),
            lm_loss=nll.sum() / max(len(nll), 1),
            count_logits=count_logits,
            answer_tokens=len(nll),
            token_nll=torch.zeros_like(tokens, dtype=nll.dtype).index_add(0, row, nll.detach()),
            tokens=tokens,
        )

    def encode_images(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the vision tower and the projector.

        Args:
            pixel_values: [B,3,S,S].

        Returns:
            Patch features [B,N,vision width] and the image tokens' embeddings [B,T,language width].
        """
        vision = self.internvl.model.get_image_features(pixel_values, return_dict=True)
        return vision.last_hidden_state[:, 1:], vision.pooler_output

    def embed(self, input_ids: Tensor, features: Tensor, image_start: int) -> Tensor:
        """Embeds tokens [B,L], with the image features [B,T,width] in the place of the image tokens."""
        embed_tokens = self.internvl.get_input_embeddings()
        before, after = input_ids[:, :image_start], input_ids[:, image_start + features.shape[1] :]
        return torch.cat([embed_tokens(before), features, embed_tokens(after)], dim=1)

    def read(self, embeddings: Tensor, attention_mask: Tensor, position_ids: Tensor) -> Tensor:
        """The language model's final states [B,L,width] under a mask and positions of our own."""
        language_model = self.internvl.model.language_model
        if (attention := language_model.config._attn_implementation) != "sdpa":
            # Eager attention would add the boolean mask as 0 and 1; flash attention would not look at it.
            raise ValueError(f"the tree mask needs sdpa attention, not {attention}")
        outputs = language_model(
            inputs_embeds=embeddings, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
        )
        states: Tensor = outputs.last_hidden_state
        return states

    def look(self, states: Tensor, row: Tensor, features: Tensor) -> Tensor:
        """Passes answer states [M,width] of images `row` [M, ascending] through the gated cross-attention."""
        if self.cross_attention is None or len(row) == 0:
            return states
        counts = torch.bincount(row, minlength=len(features))
        column = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
        padded = states.new_zeros(len(features), int(counts.max()), states.shape[-1])
        padded = padded.index_put((row, column), states)
        looked: Tensor = self.cross_attention(padded, *self.cross_attention.keys_values(features))
        return looked[row, column]

    @torch.no_grad()
    def answer(
        self, pixel_values: Tensor, questions: list[list[str]], processor: ReceiptProcessor, max_new_tokens: int
    ) -> tuple[Tensor, list[list[str]]]:
        """Counts and answers, greedily.

        Args:
            pixel_values: [B,3,S,S].
            questions: the questions about each image; an image may have none.
            processor: the model's own.
            max_new_tokens: where an answer that does not end is cut.

        Returns:
            Count probabilities [B,classes] and the answers, shaped as the questions.
        """
        return answer_questions(self, pixel_values, questions, processor, max_new_tokens)

    def component_parameters(self) -> dict[str, list[tuple[str, nn.Parameter]]]:
        """All parameters, each in exactly one of the five components; tied ones once, under their first name."""
        parts: dict[str, list[tuple[str, nn.Parameter]]] = {name: [] for name in COMPONENTS}
        for name, parameter in self.named_parameters():
            parts[_component(name)].append((name, parameter))
        return parts

    def vision_layers(self) -> list[nn.Module]:
        """The vision tower's transformer layers, first to last; its embeddings or stem are not among them."""
        return list(self.internvl.model.vision_tower.encoder.layer)


def _component(name: str) -> str:
    prefixes = {
        "internvl.model.vision_tower.": "vision",
        "internvl.model.multi_modal_projector.": "projector",
        "internvl.model.language_model.": "language",
        "internvl.lm_head.": "language",
        "cross_attention.": "cross_attention",
        "head.": "head",
    }
    return next(component for prefix, component in prefixes.items() if name.startswith(prefix))


AutoConfig.register(ReceiptCounterConfig.model_type, ReceiptCounterConfig)
AutoModel.register(ReceiptCounterConfig, ReceiptCounter)
