"""How a generated answer is compared with the true one: exactly, by BLEU's n-grams, and by ROUGE."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from sacrebleu.metrics.bleu import BLEU

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

MAX_ORDER = 4
ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")


def normalise_answer(text: str) -> str:
    """The form in which answers are compared: case folded, white space single, without one final full stop."""
    return " ".join(text.casefold().split()).removesuffix(".").rstrip()


def is_correct(predicted: str, truth: str) -> bool:
    """Whether an answer is exactly right, but for case, white space and a final full stop."""
    return normalise_answer(predicted) == normalise_answer(truth)


class TextStatistics(NamedTuple):
    """What one answer adds to corpus BLEU and to mean ROUGE.

    Attributes:
        bleu: tokens predicted, tokens true, matched n-grams (n = 1..4), predicted n-grams (n = 1..4).
        rouge: F-measure of ROUGE-1, ROUGE-2 and ROUGE-L.
    """

    bleu: tuple[int, ...]
    rouge: tuple[float, ...]


@functools.lru_cache(maxsize=1 << 16)
def text_statistics(predicted: str, truth: str) -> TextStatistics:
    """Compare two texts; kept in memory, because a model gives the same answer to many images.

    BLEU's counts are sacrebleu's (tokenizer 13a, case kept); ROUGE is Google's rouge_score with Porter stemming.
    """
    score = _bleu().sentence_score(predicted, [truth])
    rouge = _rouge().score(truth, predicted)
    return TextStatistics(
        bleu=(score.sys_len, score.ref_len, *score.counts, *score.totals),
        rouge=tuple(float(rouge[name].fmeasure) for name in ROUGE_TYPES),
    )


@functools.cache
def _bleu() -> BLEU:
    # effective_order only touches the sentence's own score, which is not used: it silences a warning about that score.
    return BLEU(max_ngram_order=MAX_ORDER, effective_order=True)


@functools.cache
def _rouge() -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer  # only now: nltk comes with it, scikit-learn and pandas with nltk

    return RougeScorer(list(ROUGE_TYPES), use_stemmer=True)
