"""Receipt Counter Pipelines: train, judge and compare models that count receipts."""

__version__ = "0.1.0"
