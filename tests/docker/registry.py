"""A real registry on this machine's loopback, which every engine trusts without certificates, and images for it."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

SECONDS_TO_BEGIN = 20.0
_CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: "{directory}/stored"}}}}
http: {{addr: "127.0.0.1:0"}}
"""
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Registry:
    """A registry that serves, and the engine that shares its machine.

    Args:
        address: host and port.
        stored: directory with what it keeps.
        engine: pushes images to it.
    """

    address: str
    stored: Path
    engine: docker.DockerClient

    def push(self, name: str, content: str) -> str:
        """Make an image that holds one text and push it, as `name` (REPOSITORY:TAG); its digest. None stays here."""
        repository, _, tag = f"{self.address}/{name}".rpartition(":")
        self.engine.api.import_image_from_data(_archive(content), repository=repository, tag=tag)
        said = self.engine.images.push(repository, tag)
        assert "digest: sha256:" in said, said
        self.forget()
        return self.digest(name)

    def push_index(self, name: str, platforms: dict[str, str]) -> str:
        """Put an image of several platforms, {architecture: REPOSITORY:TAG that is there}; its digest."""
        manifests = [
            {
                "mediaType": _MANIFEST,
                "digest": self.digest(part),
                "size": int(self._ask("HEAD", part)["Content-Length"]),
                "platform": {"os": "linux", "architecture": architecture},
            }
            for architecture, part in platforms.items()
        ]
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
        return self._ask("PUT", name, json.dumps(index).encode())["Docker-Content-Digest"]

    def digest(self, name: str) -> str:
        """What the registry itself says that a tag stands for."""
        return self._ask("HEAD", name)["Docker-Content-Digest"]

    def truncate_layers(self) -> None:
        """Lose the end of every layer: all that is stored and is no JSON."""
        for blob in self.stored.rglob("blobs/sha256/*/*/data"):
            content = blob.read_bytes()
            if not content.startswith(b"{"):
                blob.write_bytes(content[: len(content) // 2])

    def forget(self) -> None:
        """Remove every image of this registry from the engine."""
        for image in self.engine.api.images():
            for name in (*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())):
                if name.startswith(f"{self.address}/"):
                    with suppress(ImageNotFound):  # a digest goes with the last tag
                        self.engine.images.remove(name)

    def _ask(self, method: str, name: str, body: bytes | None = None) -> HTTPMessage:
        repository, _, tag = name.rpartition(":")
        request = urllib.request.Request(
            f"http://{self.address}/v2/{repository}/manifests/{tag}",
            method=method,
            data=body,
            headers={"Accept": f"{_INDEX}, {_MANIFEST}", "Content-Type": _INDEX},
        )
        with _LOOPBACK.open(request, timeout=SECONDS_TO_BEGIN) as answer:
            headers: HTTPMessage = answer.headers
        return headers


def _archive(content: str) -> bytes:
    """A root file system with one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content.encode()))
    return packed.getvalue()


@contextmanager
def serve(engine: docker.DockerClient, directory: Path) -> Iterator[Registry]:
    """A registry of its own while the block lasts; without the program the test is skipped."""
    program = shutil.which("docker-registry")  # Debian's name of it
    if program is None:
        pytest.skip("no docker-registry is installed (.ci/run installs it beside the engine)")
    (directory / "config.yml").write_text(_CONFIG.format(directory=directory))
    log = directory / "log"
    with log.open("w") as written:
        process = subprocess.Popen([program, "serve", directory / "config.yml"], stdout=written, stderr=written)
    try:
        registry = Registry(_address(process, log), directory / "stored", engine)
        yield registry
        registry.forget()
    finally:
        process.terminate()
        process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it listens: the system chose the port."""
    deadline = time.monotonic() + SECONDS_TO_BEGIN
    while process.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"listening on ([\d.]+:\d+)", log.read_text()):
            return found[1]
        time.sleep(0.02)
    pytest.fail(f"the registry did not start: {log.read_text()}")
