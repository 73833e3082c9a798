"""Everything that is looked for in a cluster, in order."""

from __future__ import annotations

import time
from collections.abc import Iterator

from receipt_counter.cluster.connection import Connection, Patience
from receipt_counter.cluster.pipelines import Health
from receipt_counter.cluster_doctor import components, namespace, rights, room
from receipt_counter.cluster_doctor.reading import Check, Reader, findings
from receipt_counter.config.cluster import Cluster
from receipt_counter.doctor import MISSING, Finding
from receipt_counter.errors import UserError

_PATIENCE = Patience(pause=0.5, longest=5.0, tries=3, first_tries=2)


def examine(
    cluster: Cluster, *, host: str | None = None, service_account: str | None = None, parallelism: int = 1
) -> Iterator[Finding]:
    """Look at everything a pipeline and its studies need.

    Args:
        cluster: what is to run there.
        host: Pipelines' address; None: the environment's, else behind the API server.
        service_account: of pipelines' steps; None: Pipelines' default.
        parallelism: trials that the studies run at a time.

    Yields:
        One finding for each thing looked for; a single one if there is no API server.
    """
    try:
        reader = Reader(Connection(time.sleep, _PATIENCE), cluster.namespace)
        finding = components.api_server(reader)
    except UserError as error:
        yield Finding("api server", MISSING, error.message)
        return
    yield finding
    health: Health | None = None

    def pipelines() -> Finding:
        nonlocal health
        health = components.pipelines_health(reader, host)
        return components.pipelines(health, cluster.namespace)

    everywhere: dict[str, Check] = {
        "pipelines": pipelines,
        "katib": lambda: components.katib(reader),
        "trainer": lambda: components.trainer(reader, cluster),
        "tensorboards": lambda: components.tensorboards(reader),
        "nodes": lambda: room.machines(reader, cluster),
        "priority": lambda: namespace.priority(reader, cluster),
        "namespace": lambda: namespace.namespace(reader),
    }
    for name, check in everywhere.items():
        for finding in findings(name, check):
            yield finding
            if (finding.name, finding.state) == ("namespace", MISSING):
                return  # nothing can be in it
    inside: dict[str, Check] = {
        "queue": lambda: components.queue(reader, cluster),
        "your rights": lambda: rights.own(reader, cluster),
        "pipeline account": lambda: rights.pipeline_account(reader, cluster, health, service_account),
        "tensorboard account": lambda: rights.tensorboard_account(reader, health, service_account),
        "trial account": lambda: rights.trial_account(reader, cluster),
        "quota": lambda: room.quota(reader, cluster, parallelism),
        "store": lambda: namespace.store(reader, cluster),
        "images": lambda: namespace.images(reader, cluster),
        "trial": lambda: namespace.trial(reader, cluster),
    }
    for name, check in inside.items():
        yield from findings(name, check)
