"""Uploads a pipeline to Kubeflow Pipelines, starts a run of it or finds the one there is, and follows it to its end."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.__main__ import PIPELINES
from pipelines.kubeflow.client import Pipelines
from pipelines.kubeflow.following import ENDED, FAILED, SUCCEEDED, failure, follow
from pipelines.kubeflow.platform import package, task_names
from receipt_counter.cluster.connection import PATIENT, Patience
from receipt_counter.cluster.pipelines import Health
from receipt_counter.config.loading import parse_config
from receipt_counter.errors import UserError
from receipt_counter.progress import Progress
from receipt_counter.wakeup import Pause, StoppedError, stoppable

SECONDS_BETWEEN_LOOKS = 5.0


@dataclass(frozen=True)
class Request:
    """What is to be run.

    Args:
        mode: which pipeline.
        name: of the experiment or study, a part of the run's name.
        experiment: Pipelines' experiment, which groups runs.
        config: the resolved config, as YAML.
        parameters: of the pipeline.
        studies: {mode: name of its study}, for the pods' labels.
        host: where Pipelines is; None: see `Pipelines`.
        service_account: whose rights the steps have; None takes Pipelines' default.
        terminate_on_stop: whether a stop signal ends the run on the cluster too.
    """

    mode: str
    name: str
    experiment: str
    config: str
    parameters: Mapping[str, Any]
    studies: Mapping[str, str]
    host: str | None = None
    service_account: str | None = None
    terminate_on_stop: bool = False


class Submission:
    """Runs a request on a cluster. Use it in the main thread: it listens to signals while it follows.

    Args:
        request: what is to be run.
        progress: shows the states of tasks.
        patience: how often failed requests are sent again.
        interval: seconds between looks at the run.
        sleep: waits so many seconds instead of the clock.
    """

    def __init__(
        self,
        request: Request,
        progress: Progress,
        *,
        patience: Patience = PATIENT,
        interval: float = SECONDS_BETWEEN_LOOKS,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._request, self._progress = request, progress
        self._patience, self._interval, self._sleep = patience, interval, sleep
        self._run: Any = None

    def run(self) -> None:
        """Run it to its end.

        Raises:
            UserError: the run failed, Pipelines refuses something, or a signal asked to stop.
        """
        with stoppable(self._sleep) as pause:
            pipelines = Pipelines(self._request.host, pause, self._patience)
            try:
                self._work(pipelines, pause)
            except StoppedError as stop:
                raise self._stopped(pipelines, stop.status) from None

    def _work(self, pipelines: Pipelines, pause: Pause) -> None:
        request, health = self._request, pipelines.health()
        if health.warning:
            print(f"warning: {health.warning}", flush=True)
        cluster = parse_config(request.config).cluster
        text = package(
            PIPELINES[request.mode], cluster, request.studies, security_context=health.takes_security_context
        )
        self._run = self._start(pipelines, health, text)
        link, names = pipelines.link(self._run.run_id), task_names(text)
        print(link, flush=True)
        if request.studies:
            boards = (
                f"receipt-counter tensorboard --backend kubeflow --list --set cluster.namespace={cluster.namespace}"
            )
            print(f"TensorBoards of its studies, once they have begun: {boards}", flush=True)
        ended = follow(pipelines, self._run.run_id, names, self._progress, lambda: pause(self._interval))
        if ended.state == SUCCEEDED:
            print(f"run {ended.display_name} has succeeded: {link}", flush=True)
            return
        why = (
            f"has failed: {failure(pipelines, ended, names)}" if ended.state == FAILED else f"is {ended.state.lower()}"
        )
        raise UserError(f"run {ended.display_name} {why}\n{link}", status=1)

    def _start(self, pipelines: Pipelines, health: Health, text: str) -> Any:
        """The run to follow: the newest of its name unless that failed, else a new one."""
        request = self._request
        if request.service_account is None and not health.multi_user:
            print(
                "note: this Pipelines has no users: steps run in its own namespace, under its own account", flush=True
            )
        namespace = parse_config(request.config).cluster.namespace if health.multi_user else None
        experiment = pipelines.experiment(request.experiment, namespace)
        name = run_name(request, text)
        newest = pipelines.newest_run(name, experiment)
        if newest is not None and _is_wanted(newest):
            done = newest.state == SUCCEEDED
            print(
                f"nothing to do: run {name} has succeeded" if done else f"following run {name}, which is there already"
            )
            return newest
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / f"{request.mode}.yaml"
            file.write_text(text, encoding="utf-8")
            version = version_name(request.parameters["code_version"], text)
            ids = pipelines.version(f"receipt-counter-{request.mode}", version, file, namespace)
        body = pipelines.run_body(
            name, experiment, ids, parameters=dict(request.parameters), service_account=request.service_account
        )
        started = pipelines.start(body, _is_wanted)
        print(f"started run {name} of receipt-counter-{request.mode}, version {version}", flush=True)
        return started

    def _stopped(self, pipelines: Pipelines, status: int) -> UserError:
        if self._run is None:
            return UserError("stopped before a run was started", status)
        run, link = self._run.display_name, pipelines.link(self._run.run_id)
        if not self._request.terminate_on_stop:
            return UserError(
                f"stopped following; run {run} runs on: {link}\nThe same command follows it again; with"
                " --terminate-on-stop a stop ends the run too, as Terminate does on that page",
                status,
            )
        try:
            pipelines.terminate(self._run.run_id)
        except StoppedError:  # asked again
            return UserError(f"stopped; run {run} may go on: {link}", status)
        return UserError(f"stopped; run {run} is being terminated: {link}", status)


def run_name(request: Request, package_text: str) -> str:
    """A run's name, the same for the same work."""
    work = json.dumps([package_text, dict(request.parameters), request.service_account], sort_keys=True)
    return f"{request.mode}-{request.name}-{_digest(work)}"


def version_name(code_version: str, package_text: str) -> str:
    """A pipeline version's name: the code's version, and the package's content, in letters that Kubernetes takes."""
    return f"{re.sub('[^a-z0-9.]+', '-', code_version.lower())}-{_digest(package_text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _is_wanted(run: Any | None) -> bool:
    """Whether a run makes another needless: it has succeeded, or is on its way."""
    return run is not None and (run.state == SUCCEEDED or run.state not in ENDED)
