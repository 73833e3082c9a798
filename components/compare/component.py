"""Compare: say what a study found."""

from kfp import dsl

from components import component


@component
def compare(
    *,
    study: dsl.Input[dsl.Artifact],
    store: str,
    confirmed: str,
    code_version: str,
    analysis: dsl.Output[dsl.Artifact],
    chosen: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.HTML],
    findings: dsl.Output[dsl.Markdown],
) -> str:
    """Analyse a study's trials and write its report.

    Args:
        study: what `sweep` left.
        store: where its runs live.
        confirmed: id of the study that confirms a search, once there is one; part of the cache key.
        code_version: version of the code that should run; part of the cache key.
        analysis: its location is analysis.json.
        chosen: its location is the directory or URL of the run to ship, once a search is confirmed.
        report: the report, one self-contained page.
        findings: what was found, in sentences.

    Returns:
        The Experiment that confirms a search, as YAML; empty for an ablation.
    """
    from pathlib import Path

    from receipt_counter import steps, study_steps
    from receipt_counter.storage.store import open_store

    with steps.step("compare") as progress:
        directory = steps.handed(study)
        found = study_steps.compare(directory, open_store(store), progress)
        steps.hand_on(analysis, directory / "analysis.json")
        analysis.metadata.update(confirmed=confirmed, code_version=code_version)
        if found.chosen is None:
            Path(chosen.path).touch()
        else:
            steps.hand_on(chosen, found.chosen)
        Path(report.path).write_bytes(found.report.read_bytes())
        Path(findings.path).write_text(study_steps.findings_markdown(found.analysis, directory.name))
        return found.confirmation
