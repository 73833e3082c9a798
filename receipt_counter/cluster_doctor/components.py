"""The components that a cluster needs: Kubernetes itself, Pipelines, Katib, and for some settings Trainer and Kueue."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from receipt_counter.cluster.connection import TIMEOUT
from receipt_counter.cluster.pipelines import AUTHORITY, COOKIE, HEALTH_PATH, TOKEN, Health, endpoint, read_health
from receipt_counter.cluster_doctor.reading import Reader
from receipt_counter.config.cluster import Cluster
from receipt_counter.doctor import ABSENT, MISSING, OK, Finding
from receipt_counter.errors import UserError

KUBEFLOW = "kubeflow"  # namespace of Katib and, where it has no users, of Pipelines
_TRAINER_NAMESPACES = ("kubeflow-system", KUBEFLOW)
_KATIB = "https://www.kubeflow.org/docs/components/katib/installation"
_TRAINER = "https://www.kubeflow.org/docs/components/trainer/operator-guides/installation"
_KUBERNETES = (31, 35)  # minor versions of 1 that the manifests are valid for


@dataclass(frozen=True)
class _Supported:
    """Releases of a component that this project is written for."""

    pattern: str
    text: str

    def warn(self, release: str) -> str:
        """What to think of a release; empty if it is supported."""
        if release == "unknown":
            return f"of unknown version ({self.text} is supported)"
        return "" if re.match(self.pattern, release) else f"of version {release}: {self.text} is supported"


_KATIB_RELEASES, _TRAINER_RELEASES = _Supported(r"0\.19(\.|$)", "0.19"), _Supported(r"2\.", "2.x")


def api_server(reader: Reader) -> Finding:
    """Whether the API server answers, and its version."""
    said = reader.path("/version") or {}
    version = str(said.get("gitVersion", "unknown"))
    found = re.match(r"v1\.(\d+)", version)
    oldest, newest = _KUBERNETES
    if found is None or not oldest <= int(found[1]) <= newest:
        text = f"Kubernetes {version}: the manifests are checked for 1.{oldest} to 1.{newest}; mind its deprecations"
        return Finding("api server", ABSENT, text)
    return Finding("api server", OK, f"Kubernetes {version}")


def pipelines_health(reader: Reader, host: str | None) -> Health:
    """What Pipelines says of itself, at its address or behind the API server.

    Raises:
        UserError: it does not answer, or something else does.
    """
    address = endpoint(host)
    if address is not None:
        return read_health(_page(f"{address}{HEALTH_PATH}"), f"Kubeflow Pipelines {address}")
    path = f"/api/v1/namespaces/{KUBEFLOW}/services/ml-pipeline:http/proxy{HEALTH_PATH}"
    said = reader.path(path)
    if not isinstance(said, dict):
        raise UserError(
            f"no service ml-pipeline in namespace {KUBEFLOW}: Pipelines is not installed there; name its address with"
            " --host"
        )
    return Health(str(said.get("tag_name") or "unknown"), bool(said.get("multi_user")))


def _page(url: str) -> str:
    """What an address answers, asked with the credentials of the environment."""
    import urllib3

    headers = {"Accept": "application/json"}
    if token := os.environ.get(TOKEN):
        headers["Authorization"] = f"Bearer {token}"
    if cookie := os.environ.get(COOKIE):
        headers["Cookie"] = cookie
    timeout, retries = urllib3.Timeout(*TIMEOUT), urllib3.Retry(total=None, connect=1, read=1, redirect=3)
    try:
        with urllib3.PoolManager(ca_certs=os.environ.get(AUTHORITY)) as pool:
            answer = pool.request("GET", url, headers=headers, timeout=timeout, retries=retries)
    except urllib3.exceptions.HTTPError as error:
        cause = getattr(error, "reason", None) or error
        raise UserError(f"{url} does not answer: {cause}; is --host right, and a port-forward alive?") from None
    if answer.status in (401, 403):
        raise UserError(f"{url} answers {answer.status}: give a token in {TOKEN}, or the session's cookie in {COOKIE}")
    if answer.status != 200:
        raise UserError(
            f"{url} answers {answer.status}: is that Pipelines (behind Kubeflow's dashboard: .../pipeline)?"
        )
    return answer.data.decode(errors="replace")


def pipelines(health: Health, namespace: str) -> Finding:
    """Pipelines' version, and where its steps run."""
    place = f"steps run in the profile {namespace}"
    if not health.multi_user:
        place = f"it has no users: steps run in its own namespace, which cluster.namespace must be ({namespace})"
    if health.warning:
        return Finding("pipelines", ABSENT, f"{health.warning}; {place}")
    return Finding("pipelines", OK, f"{health.version}; {place}")


def katib(reader: Reader) -> Finding:
    """Katib's kinds and version: studies need it."""
    lacking = {"experiments", "trials", "suggestions"} - reader.served("kubeflow.org").get("v1beta1", frozenset())
    if lacking:
        kinds = ", ".join(sorted(lacking))
        return Finding("katib", MISSING, f"no {kinds} of kubeflow.org/v1beta1: install Katib 0.19 ({_KATIB})")
    warning = _KATIB_RELEASES.warn(reader.release("katib-controller", [KUBEFLOW]))
    return Finding("katib", ABSENT if warning else OK, f"kubeflow.org/v1beta1{' ' + warning if warning else ', 0.19'}")


def trainer(reader: Reader, cluster: Cluster) -> Finding:
    """Trainer's kinds and version: runs on several machines need it."""
    served = reader.served("trainer.kubeflow.org").get("v1alpha1", frozenset())
    if not {"trainjobs", "trainingruntimes"} <= served:
        needed = cluster.nodes > 1
        why = "runs of several machines need it" if needed else "only runs of several machines (cluster.nodes) need it"
        text = f"no trainjobs of trainer.kubeflow.org/v1alpha1: {why}; install Trainer 2 ({_TRAINER})"
        return Finding("trainer", MISSING if needed else ABSENT, text)
    release = reader.release("kubeflow-trainer-controller-manager", _TRAINER_NAMESPACES)
    warning = _TRAINER_RELEASES.warn(release)
    text = f"trainer.kubeflow.org/v1alpha1{' ' + warning if warning else ', ' + release}"
    return Finding("trainer", ABSENT if warning else OK, text)


def tensorboards(reader: Reader) -> Finding:
    """Kubeflow's own Tensorboard objects: the other choice beside Deployments."""
    served = reader.served("tensorboard.kubeflow.org")
    if any("tensorboards" in kinds for kinds in served.values()):
        return Finding("tensorboards", OK, f"tensorboard.kubeflow.org/{next(iter(served))}")
    return Finding("tensorboards", ABSENT, "no Tensorboard objects: a study's TensorBoard is a Deployment")


def queue(reader: Reader, cluster: Cluster) -> Finding:
    """Kueue, and the LocalQueue that training waits in."""
    served = [version for version, kinds in reader.served("kueue.x-k8s.io").items() if "localqueues" in kinds]
    if cluster.queue is None:
        there = "Kueue is there, and cluster.queue names no LocalQueue" if served else "no Kueue, and none is asked for"
        return Finding("queue", OK, there)
    if not served:
        text = f"cluster.queue is {cluster.queue}, and there is no Kueue: install it, or leave cluster.queue out"
        return Finding("queue", MISSING, text)
    found = reader.get("localqueues.kueue.x-k8s.io", cluster.queue, version=served[0])
    if found is None:
        text = f"no LocalQueue {cluster.queue} in namespace {reader.namespace}: kubectl apply -k manifests/overlays/gpu"
        return Finding("queue", MISSING, text)
    conditions = {entry["type"]: entry for entry in found.get("status", {}).get("conditions", [])}
    active = conditions.get("Active", {"status": "True"})
    if active["status"] != "True":
        text = f"LocalQueue {cluster.queue} admits nothing: {active.get('message') or active.get('reason')}"
        return Finding("queue", MISSING, f"{text}; see: kubectl describe localqueue {cluster.queue}")
    waiting = found.get("status", {}).get("pendingWorkloads", 0)
    return Finding("queue", OK, f"LocalQueue {cluster.queue}, {waiting} waiting in it")
