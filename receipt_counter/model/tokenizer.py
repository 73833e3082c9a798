"""The tiny model's tokenizer, learnt from the training texts; special tokens as InternVL3 names them."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
IMAGE_START = "<img>"
IMAGE_END = "</img>"
IMAGE_TOKEN = "<IMG_CONTEXT>"
SPECIAL_TOKENS = (PAD, TURN_START, TURN_END, IMAGE_START, IMAGE_END, IMAGE_TOKEN)
ROLES = ("user", "assistant")


def learn_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Learns byte-level byte-pair encoding (Sennrich et al. 2016; bytes as in GPT-2), so that any text can be written.

    The same set of texts gives the same tokenizer, whatever their order.

    Args:
        texts: training questions and answers.
        vocabulary: largest number of tokens, special ones and the 256 bytes included.

    Returns:
        The tokenizer, in transformers' form.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    ordered = sorted(texts)
    # The role names stand in every sequence: as often as that, they become one token each.
    roles = [f"{role}\n" for role in ROLES] * max(2, len(ordered))
    tokenizer.train_from_iterator([*ordered, *roles], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=TURN_END,
        extra_special_tokens=[TURN_START, IMAGE_START, IMAGE_END, IMAGE_TOKEN],
    )
