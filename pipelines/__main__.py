"""Compile the pipelines for Kubeflow: `python -m pipelines DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

from kfp import compiler

from pipelines.ablation import ablation
from pipelines.all import everything
from pipelines.hyperparameter import hyperparameter
from pipelines.single import single

PIPELINES = {"single": single, "hyperparameter": hyperparameter, "ablation": ablation, "all": everything}


def compile_all(directory: Path) -> list[Path]:
    """Compile every pipeline to YAML.

    Args:
        directory: where the files go; made if absent.

    Returns:
        The files written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for name, pipeline in PIPELINES.items():
        file = directory / f"{name}.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        files.append(file)
    return files


if __name__ == "__main__":
    for written in compile_all(Path(sys.argv[1] if len(sys.argv) > 1 else "build/pipelines")):
        print(written)
