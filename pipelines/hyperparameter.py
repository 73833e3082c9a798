"""A search: prepare data -> sweep -> compare -> confirm (sweep, compare) -> promote."""

from typing import NamedTuple

from kfp import dsl

from components.compare.component import compare
from components.prepare_data.component import prepare_data
from components.promote.component import promote
from components.sweep.component import sweep
from components.tensorboard.component import tensorboard


class Outputs(NamedTuple):
    """What a pipeline of a search leaves."""

    study: dsl.Artifact
    report: dsl.HTML
    run: dsl.Model
    decision: dsl.Markdown


@dsl.pipeline(name="receipt-counter-hyperparameter", description="A search, its winner confirmed on the test split.")  # type: ignore[untyped-decorator]  # kfp is not typed
def hyperparameter(
    config: str,
    experiment: str,
    store: str,
    code_version: str,
    model_name: str,
    engine: str = "local",
    workers: int = 0,
    data_fingerprint: str = "",
) -> Outputs:
    """Search, confirm, promote.

    Args:
        config: the resolved config that the trials change, as YAML.
        experiment: the Katib Experiment that `receipt-counter plan` writes, as YAML.
        store: where runs and studies live.
        code_version: version of the code that should run; a changed one runs every step again.
        model_name: the registry's name of what is promoted.
        engine: where trials run: local, in the sweep's own pod, or katib, each in one of its own.
        workers: trials at a time; 0 takes one a core.
        data_fingerprint: fingerprint of the user's own dataset, or empty.
    """
    trials = {"store": store, "engine": engine, "workers": workers, "code_version": code_version}
    prepared = prepare_data(config=config, store=store, data_fingerprint=data_fingerprint, code_version=code_version)
    tensorboard(config=config, experiment=experiment, store=store, code_version=code_version).after(prepared)
    searched = sweep(experiment=experiment, **trials).after(prepared)
    found = compare(study=searched.outputs["study"], store=store, confirmed="", code_version=code_version)
    confirmation = sweep(experiment=found.outputs["Output"], **trials)
    concluded = compare(
        study=searched.outputs["study"], store=store, confirmed=found.outputs["Output"], code_version=code_version
    ).after(confirmation)
    promoted = promote(run=concluded.outputs["chosen"], store=store, name=model_name, code_version=code_version)
    promoted.set_caching_options(False)  # the registry decides too, and it is no input
    return Outputs(
        study=searched.outputs["study"],
        report=concluded.outputs["report"],
        run=concluded.outputs["chosen"],
        decision=promoted.outputs["decision"],
    )
