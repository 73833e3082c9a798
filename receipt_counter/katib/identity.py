"""What names a study: in the store, and on a cluster."""

from __future__ import annotations

import dataclasses

from receipt_counter.katib.experiment import StudyDocument
from receipt_counter.katib.rules import room_for_name

_NOT_IN_ID = {"max_trial_count": None, "max_failed_trial_count": None, "resume_policy": None}
_DIGITS = 8


def study_id(document: StudyDocument) -> str:
    """Identity of a study: "<experiment name>-<8 hex>"."""
    spec = document.experiment.spec
    objective = spec.objective.model_copy(update={"goal": None}) if spec and spec.objective else None
    bare = spec.model_copy(update={**_NOT_IN_ID, "objective": objective}) if spec else None
    experiment = document.experiment.model_copy(update={"spec": bare, "status": None})
    fingerprint = dataclasses.replace(document, experiment=experiment).fingerprint
    return f"{_name(document)}-{fingerprint[:_DIGITS]}"


def name_suffix(document: StudyDocument) -> str:
    """The end of its identity: "-<8 hex>"."""
    return study_id(document)[-_DIGITS - 1 :]


def cluster_name(document: StudyDocument) -> str:
    """Its Experiment's name on a cluster: its identity, the name folded where Katib needs room behind it."""
    suffix = name_suffix(document)
    return _name(document)[: room_for_name(document.experiment) - len(suffix)].rstrip("-") + suffix


def _name(document: StudyDocument) -> str:
    metadata = document.experiment.metadata
    return (metadata.name if metadata else None) or ""
