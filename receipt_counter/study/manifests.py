"""The Experiments of the document's studies as files for `kubectl`; `python -m receipt_counter.study.manifests DIR`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from receipt_counter.config.loading import resolve
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import document_text
from receipt_counter.storage.files import write_atomic
from receipt_counter.storage.store import open_store
from receipt_counter.study.plan import plan_ablation, plan_search

PRESET = "full"
PLANNERS = {"hyperparameter": plan_search, "ablation": plan_ablation}
CONFIG = Path("config")  # of the project
_HEADER = """\
# The {kind} study at its full size. Made by `make manifests` from config/{kind}_config.yaml: change that, not this.
# Prerequisites: manifests/base or an overlay of it; room for {parallel} trials, each with {gpus} GPU, {cpu} processors
#   and {memory}; the checkpoint {checkpoint} in the image: trials reach no hub.
# Apply: kubectl -n receipt-counter apply -f manifests/katib/{kind}.yaml
# Check: kubectl -n receipt-counter get experiments,trials
# Clean: kubectl -n receipt-counter delete -f manifests/katib/{kind}.yaml   (the runs stay in the store)
"""
# kubeflow/katib, pkg/controller.v1beta1/suggestion/composer/composer.go: nothing sets that container's security context
_EARLY_STOPPING = """\
# Early stopping: Katib's service for it has no security context, so the restricted standard refuses it and the study
#   never starts. Either early_stopping: {algorithm: null} in the study file and `make manifests`, or while it runs
#   kubectl label --overwrite namespace receipt-counter pod-security.kubernetes.io/enforce=baseline
"""


def manifest_text(kind: str, config: Path = CONFIG) -> str:
    """A study as YAML that `kubectl apply -f` takes, with what to know before that.

    Args:
        kind: one of PLANNERS.
        config: directory with the config and the study files.

    Raises:
        UserError: everything that is wrong with one of them.
    """
    resolved = resolve(config / "multimodal_config.yaml", PRESET)
    # past runs would only tell what it costs, which the file does not say
    planned = PLANNERS[kind](config / f"{kind}_config.yaml", resolved, open_store(None))
    cluster = resolved.config.cluster
    header = _HEADER.format(
        kind=kind,
        parallel=planned.settings.parallelism,
        gpus=cluster.gpus,
        cpu=cluster.cpu,
        memory=cluster.memory,
        checkpoint=resolved.config.model.checkpoint,
    )
    note = _EARLY_STOPPING if planned.settings.early_stopping.algorithm else ""
    return header + note + document_text(planned.document)


def main(argv: Sequence[str]) -> int:
    """Write all of them into the directory that is named."""
    if len(argv) != 1:
        print("usage: python -m receipt_counter.study.manifests DIR", file=sys.stderr)
        return 2
    try:
        for kind in PLANNERS:
            path = Path(argv[0]) / f"{kind}.yaml"
            write_atomic(path, manifest_text(kind))
            print(path)
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
