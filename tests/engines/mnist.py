"""What stands for somebody else's training script: the flags and the output of the trials in Katib's examples."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

PENALTIES = {"sgd": 0.02, "adam": 0.0, "ftrl": 0.04}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--momentum", type=float, default=0.5)
    parser.add_argument("--num-layers", type=int, default=3)
    parser.add_argument("--optimizer", choices=PENALTIES, default="adam")
    parser.add_argument("--num-epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--log-path", type=Path)
    parser.add_argument("--logger", choices=["standard", "hypertune"], default="standard")
    arguments = parser.parse_args()
    print(f"trial {os.environ.get('TRIAL_NAME')} of {os.environ.get('TRIAL_KIND')}")
    penalty = abs(arguments.lr - 0.02) + abs(arguments.momentum - 0.5) / 10 + abs(arguments.num_layers - 4) / 100
    for epoch in range(1, arguments.num_epochs + 1):
        loss = penalty + PENALTIES[arguments.optimizer] + 0.3 / epoch
        report(epoch, 1 - loss, loss, arguments)


def report(epoch: int, accuracy: float, loss: float, arguments: argparse.Namespace) -> None:
    """One epoch's figures, where and how the flags say."""
    if arguments.log_path is None:
        print(f"INFO:root:Epoch[{epoch}] Train-accuracy={accuracy + 0.01:.6f}")
        print(f"INFO:root:Epoch[{epoch}] Validation-accuracy={accuracy:.6f}")
        print(f"Train Epoch: {epoch}\tloss={loss:.4f}", flush=True)
        return
    figures = (("accuracy", accuracy), ("loss", loss))
    with arguments.log_path.open("a") as file:
        if arguments.logger == "hypertune":
            record = {name: str(value) for name, value in figures}
            print(json.dumps({"epoch": str(epoch), **record, "timestamp": float(epoch)}), file=file)
        else:
            figures = (
                f"{{metricName: accuracy, metricValue: {accuracy:.4f}}};{{metricName: loss, metricValue: {loss:.4f}}}"
            )
            print(f"2026-01-01T00:00:0{epoch}Z INFO {figures}", file=file)


if __name__ == "__main__":
    main()
