"""Receipt Counter Pipelines: train, judge and compare models that count receipts."""

__version__ = "0.1.0"

# The container image with this project, unless a study file or the environment names another.
IMAGE = f"receipt-counter:{__version__}"
IMAGE_VARIABLE = "RECEIPT_COUNTER_IMAGE"  # names another; in a container the one that it runs, which runs record
