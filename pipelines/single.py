"""One experiment: prepare data -> train -> evaluate -> visualize."""

from typing import NamedTuple

from kfp import dsl

from components.evaluate.component import evaluate
from components.prepare_data.component import prepare_data
from components.train.component import train
from components.visualize.component import visualize


class Outputs(NamedTuple):
    """What a pipeline of one experiment leaves."""

    run: dsl.Model
    report: dsl.HTML


@dsl.pipeline(name="receipt-counter-single", description="One experiment, from receipts to a judged model.")  # type: ignore[untyped-decorator]  # kfp is not typed
def single(
    config: str,
    store: str,
    experiment_name: str,
    code_version: str,
    data_fingerprint: str = "",
) -> Outputs:
    """Run one experiment.

    Args:
        config: the resolved config, as YAML.
        store: where runs live.
        experiment_name: recorded with the run.
        code_version: version of the code that should run; a changed one runs every step again.
        data_fingerprint: fingerprint of the user's own dataset, or empty.
    """
    prepared = prepare_data(config=config, store=store, data_fingerprint=data_fingerprint, code_version=code_version)
    trained = train(
        config=config,
        dataset=prepared.outputs["dataset"],
        store=store,
        experiment_name=experiment_name,
        code_version=code_version,
    )
    judged = evaluate(
        run=trained.outputs["run"], dataset=prepared.outputs["dataset"], split="test", code_version=code_version
    )
    drawn = visualize(run=trained.outputs["run"], evaluation=judged.outputs["evaluation"], code_version=code_version)
    return Outputs(run=trained.outputs["run"], report=drawn.outputs["report"])
