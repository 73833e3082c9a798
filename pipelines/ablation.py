"""An ablation study: prepare data -> sweep -> compare."""

from typing import NamedTuple

from kfp import dsl

from components.compare.component import compare
from components.prepare_data.component import prepare_data
from components.sweep.component import sweep
from components.tensorboard.component import tensorboard


class Outputs(NamedTuple):
    """What a pipeline of an ablation study leaves."""

    study: dsl.Artifact
    report: dsl.HTML


@dsl.pipeline(name="receipt-counter-ablation", description="Which parts matter: paired effects of every variation.")  # type: ignore[untyped-decorator]  # kfp is not typed
def ablation(
    config: str,
    experiment: str,
    store: str,
    code_version: str,
    engine: str = "local",
    workers: int = 0,
    data_fingerprint: str = "",
) -> Outputs:
    """Run every variation with every seed and compare.

    Args:
        config: the resolved config that the variations change, as YAML.
        experiment: the Katib Experiment that `receipt-counter plan` writes, as YAML.
        store: where runs and studies live.
        code_version: version of the code that should run; a changed one runs every step again.
        engine: where trials run: local, in the sweep's own pod, or katib, each in one of its own.
        workers: trials at a time; 0 takes one a core.
        data_fingerprint: fingerprint of the user's own dataset, or empty.
    """
    prepared = prepare_data(config=config, store=store, data_fingerprint=data_fingerprint, code_version=code_version)
    trials = {"store": store, "engine": engine, "workers": workers, "code_version": code_version}
    tensorboard(config=config, experiment=experiment, store=store, code_version=code_version).after(prepared)
    swept = sweep(experiment=experiment, **trials).after(prepared)
    found = compare(study=swept.outputs["study"], store=store, confirmed="", code_version=code_version)
    return Outputs(study=swept.outputs["study"], report=found.outputs["report"])
