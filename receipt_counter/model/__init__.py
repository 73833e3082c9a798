"""The model; importing this package lets transformers' Auto classes load it."""

from receipt_counter.model.build import build_model, load_model
from receipt_counter.model.configuration import ReceiptCounterConfig
from receipt_counter.model.packing import PackedBatch
from receipt_counter.model.processor import ReceiptProcessor
from receipt_counter.model.receipt_counter import COMPONENTS, Losses, ReceiptCounter

__all__ = [
    "COMPONENTS",
    "Losses",
    "PackedBatch",
    "ReceiptCounter",
    "ReceiptCounterConfig",
    "ReceiptProcessor",
    "build_model",
    "load_model",
]
