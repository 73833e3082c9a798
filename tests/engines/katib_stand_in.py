"""A stand-in of Katib's controllers, and of what its webhook makes of pods; shapes are those of its v1beta1 types."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.engines.api_server import ApiServer

COLLECTOR = "metrics-logger-and-collector"  # Katib's container beside the trial's


def condition(kind: str, reason: str = "", message: str = "", *, true: bool = True) -> dict[str, Any]:
    time = "2026-01-01T00:05:00Z"
    content = {"type": kind, "status": str(true), "reason": reason or f"Trial{kind}", "message": message}
    return {**content, "lastUpdateTime": time, "lastTransitionTime": time}


class Katib:
    """Katib's controllers: each `tick` a trial that runs ends, one that waits runs, and others are made.

    Args:
        server: where the objects are.
        endings: {number of a trial: the condition it ends with}; the others succeed.
        loss: what a trial reports, by its number.
        assign: {parameter: value} of a trial, by its number.
        work: runs a trial, given what is assigned, and returns what it printed; None for one that prints its loss.
    """

    def __init__(
        self,
        server: ApiServer,
        endings: Mapping[int, str] | None = None,
        loss: Callable[[int], float] = lambda number: 1.0 / (1 + number),
        assign: Callable[[int], Mapping[str, str]] = lambda number: {"lr": f"0.{number + 1}"},
        work: Callable[[Mapping[str, str]], str] | None = None,
    ) -> None:
        self._server, self._endings, self._loss = server, endings or {}, loss
        self._assign, self._work = assign, work
        self._time = datetime(2026, 1, 1, tzinfo=UTC)

    def tick(self) -> None:
        """Reconcile every Experiment once."""
        self._time += timedelta(seconds=10)
        for experiment in self._server.of("experiments"):
            trials = [
                trial
                for trial in self._server.of("trials")
                if trial["metadata"]["labels"]["katib.kubeflow.org/experiment"] == experiment["metadata"]["name"]
            ]
            for number, trial in enumerate(trials):
                self._advance(number, trial)
            self._reconcile(experiment, trials)

    def _reconcile(self, experiment: dict[str, Any], trials: list[dict[str, Any]]) -> None:
        spec = experiment["spec"]
        experiment.setdefault("status", {"conditions": [condition("Created", "ExperimentCreated")]})
        experiment["status"]["trials"] = len(trials)
        ended = [found for found in experiment["status"]["conditions"] if found["type"] in ("Succeeded", "Failed")]
        if any(found["status"] == "True" for found in ended):
            if spec["maxTrialCount"] > len(trials):  # it restarts, and goes on at the next tick
                ended[-1]["status"] = "False"
            return
        kinds = [_last(trial) for trial in trials]
        losses = [float(text) for trial in trials for text in _losses(trial) if text != "unavailable"]
        ended = sum(kind not in ("Created", "Running") for kind in kinds)
        end = None
        if "goal" in spec["objective"] and any(loss <= spec["objective"]["goal"] for loss in losses):
            end = condition("Succeeded", "ExperimentGoalReached", "Experiment has succeeded because Objective goal ...")
        elif sum(kind in ("Failed", "MetricsUnavailable") for kind in kinds) >= spec.get("maxFailedTrialCount", 10**6):
            end = condition("Failed", "ExperimentFailed", "Experiment has failed because max failed count has reached")
        elif ended >= spec["maxTrialCount"]:
            end = condition("Succeeded", "ExperimentMaxTrialsReached", "Experiment has succeeded because max trial ...")
        if end is not None:
            experiment["status"]["conditions"] += [condition("Running", true=False), end]
            return
        room = min(spec["parallelTrialCount"] - (len(trials) - ended), spec["maxTrialCount"] - len(trials))
        for number in range(len(trials), len(trials) + room):
            self._create(experiment, number)
        experiment["status"]["trials"] += max(room, 0)

    def _create(self, experiment: dict[str, Any], number: int) -> None:
        name, namespace = experiment["metadata"]["name"], experiment["metadata"]["namespace"]
        owner = {"kind": "Experiment", "name": name, "uid": experiment["metadata"]["uid"]}
        metadata = {
            "name": f"{name}-{hashlib.sha256(str(number).encode()).hexdigest()[:8]}",
            "labels": {"katib.kubeflow.org/experiment": name},
            "creationTimestamp": _text(self._time + timedelta(seconds=number)),
            "ownerReferences": [owner],
        }
        assigned = [{"name": name, "value": value} for name, value in self._assign(number).items()]
        spec = {"parameterAssignments": assigned}
        body = {"apiVersion": "kubeflow.org/v1beta1", "kind": "Trial", "metadata": metadata, "spec": spec}
        self._server.put("trials", namespace, {**body, "status": {"conditions": [condition("Created")]}})

    def _start_pod(self, trial: dict[str, Any]) -> None:
        """What its Job makes, labelled by Katib's webhook."""
        metadata, name = trial["metadata"], f"{trial['metadata']['name']}-x7k2p"
        labels = {**metadata["labels"], "katib.kubeflow.org/trial": metadata["name"]}
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        made = {"name": name, "labels": labels, "creationTimestamp": _text(self._time), "ownerReferences": [owner]}
        body = {"metadata": made, "status": {"phase": "Running", "containerStatuses": [container_status(running={})]}}
        self._server.put("pods", metadata["namespace"], body)

    def _print(self, number: int, trial: dict[str, Any]) -> str:
        """What the trial's program prints."""
        if self._work is None:
            return f"begins\nloss={self._loss(number)}"
        return self._work({given["name"]: given["value"] for given in trial["spec"]["parameterAssignments"]})

    def _end_pod(self, printed: str, trial: dict[str, Any], ending: str) -> None:
        """Its program's output is in the log of Katib's container, behind the head of klog."""
        pod = self._server.objects["pods", trial["metadata"]["namespace"], f"{trial['metadata']['name']}-x7k2p"]
        name, code = pod["metadata"]["name"], 1 if ending == "Failed" else 0
        pod["status"]["phase"] = "Failed" if code else "Succeeded"
        pod["status"]["containerStatuses"] = [container_status(terminated={"exitCode": code, "reason": "Error"})]
        said = "begins\nTraceback\nValueError: no" if code else printed
        lines = [f"Trial Name: {trial['metadata']['name']}", *said.splitlines()]
        self._server.logs[name, "main"] = ""
        self._server.logs[name, COLLECTOR] = "".join([*map(klog, lines), "F0101 gone\n", "goroutine 1\n"])

    def _advance(self, number: int, trial: dict[str, Any]) -> None:
        state = trial["status"]
        last = _last(trial)
        if last == "Created":
            state["conditions"].append(condition("Running"))
            state["startTime"] = _text(self._time)
            self._start_pod(trial)
        elif last == "Running" and (number % 2 == 0 or self._time.second % 20 == 0):
            ending = self._endings.get(number, "Succeeded")
            state["conditions"][-1]["status"] = "False"
            state["conditions"].append(condition(ending, message=f"Trial has ended. Job message: {ending}"))
            state["completionTime"] = _text(self._time)
            printed = self._print(number, trial)
            self._end_pod(printed, trial, ending)
            if ending != "MetricsUnavailable":
                found = dict(re.findall(r"^(\w+)=(\S+)$", printed, re.MULTILINE))  # of each the latest
                state["observation"] = {"metrics": [metric(name, value) for name, value in found.items()]}


def container_status(name: str = "main", **state: Any) -> dict[str, Any]:
    """A container's status: running={}, waiting={...} or terminated={...}."""
    return {"name": name, "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}


def klog(line: str) -> str:
    """A line as the logger of Katib's container prints it."""
    return f"I0101 00:00:10.000000      14 main.go:148] {line}\n"


def metric(name: str, latest: float | str, least: float | str | None = None, most: float | str | None = None) -> Any:
    """A metric of an observation."""
    texts = (str(latest if value is None else value) for value in (latest, least, most))
    return dict(zip(("latest", "min", "max"), texts, strict=True)) | {"name": name}


def _losses(trial: dict[str, Any]) -> list[str]:
    metrics = trial["status"].get("observation", {}).get("metrics", [])
    return [str(found["latest"]) for found in metrics if found["name"] == "loss"]


def _last(trial: dict[str, Any]) -> str:
    return str(trial["status"]["conditions"][-1]["type"])


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
