"""Greedy answers, many at once: the image and its prefix are read once, their cache shared by its questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import DynamicCache

if TYPE_CHECKING:
    from receipt_counter.model.processor import ReceiptProcessor
    from receipt_counter.model.receipt_counter import ReceiptCounter


def answer_questions(
    model: ReceiptCounter,
    pixel_values: Tensor,
    questions: list[list[str]],
    processor: ReceiptProcessor,
    max_new_tokens: int,
) -> tuple[Tensor, list[list[str]]]:
    """See `ReceiptCounter.answer`; gradients must be off."""
    patches, features = model.encode_images(pixel_values)
    probabilities = model.head(patches).float().softmax(-1)
    prompts = processor.prompts([question for row in questions for question in row])
    answers: list[list[int]] = [[] for _ in prompts]
    if prompts:
        owner = torch.tensor([image for image, row in enumerate(questions) for _ in row], device=features.device)
        reading = _Reading(model, features, processor)
        states = reading.read_prompts(prompts, owner)
        for _ in range(max_new_tokens):
            chosen = reading.next_tokens(states)
            kept = (~torch.isin(chosen, reading.ends)).nonzero()[:, 0]
            if len(kept) == 0:
                break
            if len(kept) < len(chosen):
                reading.keep(kept)
                chosen = chosen[kept]
            for question, token in zip(reading.question.tolist(), chosen.tolist(), strict=True):
                answers[question].append(token)
            states = reading.read_tokens(chosen)
    generated = iter(processor.decode(answers))
    return probabilities, [[next(generated) for _ in row] for row in questions]


class _Reading:
    """What the language model has read so far, for the R questions still being answered.

    Prompts are padded on the right and the padding hidden by the mask, so every position is counted as if its
    question were alone.

    Args:
        model: the model.
        features: image tokens' embeddings [B,T,width].
        processor: the model's own.
    """

    def __init__(self, model: ReceiptCounter, features: Tensor, processor: ReceiptProcessor) -> None:
        self.model = model
        self.padding = processor.padding
        self.ends = torch.tensor(processor.end_tokens, device=features.device)
        self.start = len(processor.prefix)
        self.cache = DynamicCache(config=model.config.internvl_config.text_config)
        ids = torch.tensor(processor.prefix, device=features.device).expand(len(features), -1)
        causal = torch.ones(1, 1, self.start, self.start, dtype=torch.bool, device=features.device).tril()
        positions = torch.arange(self.start, device=features.device)[None]
        self._read(model.embed(ids, features, processor.image_start), causal, positions)
        block = model.cross_attention
        self.image_side = None if block is None else block.keys_values(features)

    def read_prompts(self, prompts: list[list[int]], owner: Tensor) -> Tensor:
        """Reads R questions behind their images' prefixes.

        Args:
            prompts: their tokens.
            owner: [R], the image each is about.

        Returns:
            The states [R,width] from which the first tokens of the answers follow.
        """
        device = owner.device
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        longest = int(lengths.max())
        padded = [prompt + [self.padding] * (longest - len(prompt)) for prompt in prompts]
        self.cache.batch_select_indices(owner)
        self.owner = owner
        self.question = torch.arange(len(prompts), device=device)
        self.position = self.start + lengths
        columns = torch.arange(self.start + longest, device=device)
        self.seen = columns < self.position[:, None]
        # A padding token sees at least the prefix, so no row of the mask is empty.
        causal = columns <= columns[self.start :, None]
        embeddings = self.model.internvl.get_input_embeddings()(torch.tensor(padded, device=device))
        states = self._read(embeddings, self.seen[:, None, None, :] & causal, columns[None, self.start :])
        return states[self.question, lengths - 1]

    def next_tokens(self, states: Tensor) -> Tensor:
        """The likeliest token [R] after states [R,width]."""
        block = self.model.cross_attention
        if block is not None and self.image_side is not None:
            keys, values = self.image_side
            states = block(states[:, None], keys[self.owner], values[self.owner])[:, 0]
        logits: Tensor = self.model.internvl.lm_head(states)
        return logits.float().argmax(-1)

    def keep(self, rows: Tensor) -> None:
        """Lets go of all questions but `rows`: an answer that has ended costs nothing more."""
        self.cache.batch_select_indices(rows)
        self.owner, self.question = self.owner[rows], self.question[rows]
        self.position, self.seen = self.position[rows], self.seen[rows]

    def read_tokens(self, tokens: Tensor) -> Tensor:
        """Reads one more token [R] of each answer; returns its states [R,width]."""
        self.seen = torch.cat([self.seen, self.seen.new_ones(len(self.seen), 1)], dim=1)
        embeddings = self.model.internvl.get_input_embeddings()(tokens[:, None])
        states = self._read(embeddings, self.seen[:, None, None, :], self.position[:, None])
        self.position = self.position + 1
        return states[:, 0]

    def _read(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        outputs = self.model.internvl.model.language_model(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        states: Tensor = outputs.last_hidden_state
        return states
