"""Promote (stub)."""

from kfp import dsl

from components import component


@component
def promote(
    *, run: dsl.Input[dsl.Model], store: str, name: str, code_version: str, decision: dsl.Output[dsl.Markdown]
) -> None:
    from pathlib import Path

    Path(decision.path).write_text(f"would promote {run.uri} as {name}")
