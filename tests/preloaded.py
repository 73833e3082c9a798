"""What the process that `forks.Fork` forks from imports, once; see `receipt_counter.importing`."""

from receipt_counter.importing import importing

with importing():
    import rouge_score.rouge_scorer

    import receipt_counter.steps
    import receipt_counter.training.train

__all__ = ["receipt_counter", "rouge_score"]
