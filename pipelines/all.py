"""Everything: one experiment, then the search and the ablation study around it."""

from typing import NamedTuple

from kfp import dsl

from pipelines.ablation import ablation
from pipelines.hyperparameter import hyperparameter
from pipelines.single import single


class Outputs(NamedTuple):
    """What the pipeline of everything leaves."""

    run: dsl.Model
    search: dsl.Artifact
    ablation: dsl.Artifact
    chosen: dsl.Model
    decision: dsl.Markdown


@dsl.pipeline(name="receipt-counter-all", description="One experiment, a search and an ablation study.")  # type: ignore[untyped-decorator]  # kfp is not typed
def everything(
    config: str,
    search_experiment: str,
    ablation_experiment: str,
    store: str,
    experiment_name: str,
    code_version: str,
    model_name: str,
    engine: str = "local",
    workers: int = 0,
    data_fingerprint: str = "",
) -> Outputs:
    """Run all kinds; the baseline's run is made once, whoever needs it first.

    Args:
        config: the resolved config of the baseline, as YAML.
        search_experiment: the search's Katib Experiment, as YAML.
        ablation_experiment: the ablation study's Katib Experiment, as YAML.
        store: where runs and studies live.
        experiment_name: recorded with the single run.
        code_version: version of the code that should run; a changed one runs every step again.
        model_name: the registry's name of what is promoted.
        engine: where trials run: local, in the sweep's own pod, or katib, each in one of its own.
        workers: trials at a time; 0 takes one a core.
        data_fingerprint: fingerprint of the user's own dataset, or empty.
    """
    common = {"config": config, "store": store, "code_version": code_version, "data_fingerprint": data_fingerprint}
    baseline = single(**common, experiment_name=experiment_name)
    trials = {"engine": engine, "workers": workers}
    searched = hyperparameter(**common, **trials, experiment=search_experiment, model_name=model_name).after(baseline)
    ablated = ablation(**common, **trials, experiment=ablation_experiment).after(baseline)
    return Outputs(
        run=baseline.outputs["run"],
        search=searched.outputs["study"],
        ablation=ablated.outputs["study"],
        chosen=searched.outputs["run"],
        decision=searched.outputs["decision"],
    )
