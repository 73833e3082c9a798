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
    (tmp_path / "runs").mkdir()
    port = free_port()
    arguments = [text.replace("$(RECEIPT_COUNTER_STORE)", str(tmp_path)) for text in container["args"]]
    assert f"--port={container['ports'][0]['containerPort']}" in arguments
    places = [text.replace("=/tmp/", f"={tmp_path}/") for text in arguments]
    command = [sys.executable, *program, *container["command"][1:], *places, f"--port={port}"]
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
