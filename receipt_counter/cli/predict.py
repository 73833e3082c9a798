"""`receipt-counter predict`: ask a trained model about photos."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from receipt_counter.cli.parser import Subparsers, add_command, add_store_option
from receipt_counter.cli.terminal import print_error
from receipt_counter.importing import importing

if TYPE_CHECKING:
    from receipt_counter.predict import Prediction


def add_commands(commands: Subparsers) -> None:
    """Add `predict`."""
    parser = add_command(
        commands,
        "predict",
        predict_images,
        help="count the receipts in photos and answer questions about them",
        examples=[
            "receipt-counter predict photo.jpg",
            'receipt-counter predict --model 3fa94c a.jpg b.jpg --question "Is there a receipt?" --json',
        ],
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="a promoted model's NAME or NAME/VERSION, a run id, or a directory (default: the current version of "
        "receipt-counter)",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="photos")
    parser.add_argument(
        "--question", action="append", metavar="TEXT", help="what to ask; repeatable (default: the count)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line and photo")
    add_store_option(parser)


def predict_images(arguments: argparse.Namespace) -> int:
    """Print a prediction for each photo; status 1 if one could not be read."""
    with importing():
        from receipt_counter.predict import DEFAULT_QUESTION, find_model, predict
    from receipt_counter.storage.store import open_store

    model = find_model(arguments.model, open_store(arguments.store))
    print(f"model: {model.name}", file=sys.stderr, flush=True)
    status = 0
    for prediction in predict(model.directory, arguments.images, arguments.question or [DEFAULT_QUESTION]):
        status = max(status, int(prediction.error is not None))
        if arguments.json:
            print(json.dumps(prediction.as_dict()), flush=True)
        else:
            _print(prediction)
    return status


def _print(prediction: Prediction) -> None:
    if prediction.error is not None:
        print_error(prediction.error)
        return
    print(f"{prediction.image}: {prediction.count} ({prediction.confidence:.0%} sure)")
    for question, answer in (prediction.answers or {}).items():
        print(f"  {question} {answer}", flush=True)
