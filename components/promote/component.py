"""Promote: publish a run's model, if it is good enough and better than the current one."""

from kfp import dsl

from components import component


@component
def promote(
    *,
    run: dsl.Input[dsl.Model],
    store: str,
    name: str,
    code_version: str,
    decision: dsl.Output[dsl.Markdown],
) -> None:
    """Publish a model to the store's registry; that it is refused is a result, not a failure.

    Do not cache it: the registry decides too, and it is no input.

    Args:
        run: the run, judged on the test split.
        store: holds the registry.
        name: the name to publish under.
        code_version: version of the code that should run.
        decision: what became of the run and why; its metadata say the same to machines.
    """
    from pathlib import Path

    from receipt_counter import steps
    from receipt_counter.promotion.card import decision_markdown
    from receipt_counter.promotion.promote import promote as promote_run
    from receipt_counter.storage.run import Run
    from receipt_counter.storage.store import open_store

    with steps.step("promote") as progress:
        decided, version = promote_run(Run.open(steps.handed(run)), open_store(store), name, progress)
        Path(decision.path).write_text(decision_markdown(decided, version))
        decision.metadata.update(
            outcome=decided.outcome,
            promoted=version is not None,
            version="" if version is None else str(version),
            reasons="; ".join(decided.reasons),
            code_version=code_version,
        )
