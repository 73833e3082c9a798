"""Photographs of receipts, drawn from facts, with questions that they answer."""

from receipt_counter.data.render.build import render_dataset

__all__ = ["render_dataset"]
