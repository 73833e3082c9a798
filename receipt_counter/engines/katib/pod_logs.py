"""What the pods of a trial that ended leave: their logs, how often it was tried, and why it failed.

With the collector StdOut Katib sends the program's output to a file, and its own container prints that file
(kubeflow/katib, cmd/metricscollector/v1beta1/file-metricscollector/main.go): then the log is that container's, without
the head that its logger puts before each line.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

from kubeflow_katib_api.models import V1beta1ExperimentSpec

from receipt_counter.cluster.connection import ApiError
from receipt_counter.engines.base import UNSUCCESSFUL, TrialResult
from receipt_counter.engines.journal import Journal, last_lines
from receipt_counter.engines.katib.cluster import TRIAL_LABEL, Cluster, was_disrupted
from receipt_counter.engines.view import printed_progress
from receipt_counter.errors import UserError
from receipt_counter.storage.files import write_atomic

MOST_LINES, MOST_BYTES = 10_000, 16 << 20  # of each log that is kept
LINES_OF_PROGRESS = 100  # among which a trial that runs says how far it is
LOOKS = 5  # that a log which cannot be read now is asked for; its node may be gone for good
_COLLECTOR = "metrics-logger-and-collector"  # Katib's container beside the trial's
_PRINTED = re.compile(r"^I\d{4} [\d:.]+ +\d+ main\.go:\d+\](?! Trial Name: | Metrics reported\.) ?(.*)$", re.MULTILINE)


class PodLogs:
    """Keeps in a study's directory what the pods of its trials say.

    Args:
        cluster: where the pods are.
        journal: of the study.
        spec: of the Experiment, with Katib's defaults.

    Attributes:
        notes: {what is the matter: a sentence}.
    """

    def __init__(self, cluster: Cluster, journal: Journal, spec: V1beta1ExperimentSpec) -> None:
        self.notes: dict[str, str] = {}
        self._cluster, self._journal = cluster, journal
        collector = spec.metrics_collector_spec.collector if spec.metrics_collector_spec else None
        self._is_redirected = collector is not None and collector.kind == "StdOut"
        self._container = spec.trial_template.primary_container_name
        self._primary = dict(spec.trial_template.primary_pod_labels or {})
        self._failures: Counter[str] = Counter()

    def complete(self, trial: TrialResult) -> TrialResult | None:
        """Keep the logs of a trial that ended.

        Returns:
            Its record with what its pods tell; None while they cannot be asked.
        """
        if self.notes:
            return trial
        try:
            return self._complete(trial)
        except ApiError as error:
            self._give_up(error)
        except UserError:
            self._failures[trial.name] += 1
            if self._failures[trial.name] < LOOKS:
                return None
        return trial

    def progress(self, pod: str) -> str:
        """How far the trial in a pod is, by the last lines it printed; empty where they do not say."""
        text = ""
        try:
            text = "" if self.notes else self._log(pod, LINES_OF_PROGRESS) or ""
        except ApiError as error:
            self._give_up(error)
        except UserError:  # it cannot be asked now
            pass
        return next((found for line in reversed(text.splitlines()) if (found := printed_progress(line))), "")

    def _give_up(self, error: ApiError) -> None:
        self.notes["logs"] = f"the logs of trials are not read: {error.message}"

    def _complete(self, trial: TrialResult) -> TrialResult:
        labels = {TRIAL_LABEL: trial.name, **self._primary}
        pods = self._cluster.pods(",".join(f"{name}={value}" for name, value in labels.items()))
        pods.sort(key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name))
        for attempt, pod in enumerate(pods, 1):
            text = self._log(pod.metadata.name, MOST_LINES)
            if text is not None:
                file = self._journal.log_file(trial.name, attempt if attempt < len(pods) else None)
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(file, text)
        attempts = [pod for pod in pods if _belongs_to_job(pod, trial.name)]
        kills = sum(map(was_disrupted, attempts))  # our Jobs do not count them as failures
        trial = replace(trial, attempts=max(len(attempts) - kills, trial.attempts), kills=kills)
        if trial.status not in UNSUCCESSFUL:
            return trial
        why = _why_it_ended(pods[-1], self._container) if pods else ""
        message = "; ".join(filter(None, (trial.message, why)))
        return replace(trial, message=message, log=last_lines(self._journal.log_file(trial.name)))

    def _log(self, pod: str, lines: int) -> str | None:
        own = self._cluster.log(pod, self._container, lines, MOST_BYTES)
        if not self._is_redirected:
            return own
        collected = self._cluster.log(pod, _COLLECTOR, lines, MOST_BYTES)
        if own is None and collected is None:
            return None
        # a collector that writes in another way than 0.19's: as it is
        printed = _PRINTED.findall(collected or "") or (collected or "").splitlines()
        return "".join(f"{line}\n" for line in printed) + (own or "")  # beside the file goes only what its shell says


def _belongs_to_job(pod: Any, trial: str) -> bool:
    """Whether it is an attempt: a Job's pods follow one another, those of a TrainJob run side by side."""
    return any((owner.kind, owner.name) == ("Job", trial) for owner in pod.metadata.owner_references or ())


def _why_it_ended(pod: Any, container: str) -> str:
    found = next((one for one in pod.status.container_statuses or () if one.name == container), None)
    ended = found.state.terminated if found and found.state else None
    if ended is None:
        return " ".join((pod.status.message or pod.status.reason or "").split())  # of an evicted pod
    if ended.reason == "OOMKilled":
        return f"container {container}: memory ran out (OOMKilled)"
    return f"container {container}: exit status {ended.exit_code}" if ended.exit_code else ""
