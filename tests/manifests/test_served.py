"""What serves pages really starts with the arguments of its Deployment and answers its probes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.manifests.rendering import deployment, needs_kubectl


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


@needs_kubectl
@pytest.mark.parametrize(
    ("target", "component", "program"),
    [
        ("base", "tensorboard", []),
        ("overlays/kubeflow-profile", "tensorboard", []),
        ("base", "monitor", ["-m", "receipt_counter"]),
    ],
)
def test_it_starts_and_answers(target: str, component: str, program: list[str], tmp_path: Path) -> None:
    (container,) = deployment(target, component)["spec"]["template"]["spec"]["containers"]
    store = tmp_path / "store"
    (store / "runs").mkdir(parents=True)
    port = free_port()
    own = {"$(RECEIPT_COUNTER_STORE)": store, "/tmp/monitor": tmp_path / "cache"}
    arguments = container["args"]
    assert f"--port={container['ports'][0]['containerPort']}" in arguments
    for there, here in own.items():
        arguments = [text.replace(there, str(here)) for text in arguments]
    command = [sys.executable, *program, *container["command"][1:], *arguments, f"--port={port}"]
    server = subprocess.Popen(
        command, env={**os.environ, "HOME": str(tmp_path)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 120
        while not answers(url + container["startupProbe"]["httpGet"]["path"]):
            assert server.poll() is None
            assert time.monotonic() < end
            time.sleep(0.2)
        assert answers(url + container["readinessProbe"]["httpGet"]["path"])
        assert not answers(f"{url}/no/such/page")
    finally:
        server.terminate()
        server.wait(timeout=30)
