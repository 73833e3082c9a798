"""Images of a registry, by tag and by digest, as `run --backend docker` names them to kfp's runner."""

from __future__ import annotations

import docker
import pytest
from docker.errors import APIError
from kfp.local.docker_task_handler import run_docker_container

from receipt_counter.cli.containers import listed_name
from tests.docker.registry import Registry

pytestmark = pytest.mark.usefixtures("alone")

NAME = "team/receipt-counter"


@pytest.mark.parametrize("reference", [":1", "@{digest}", ":1@{digest}"])
def test_kfp_finds_what_was_pulled(
    reference: str, engine: docker.DockerClient, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = registry.push(f"{NAME}:1", "steps")
    repository = f"{registry.address}/{NAME}"
    engine.images.pull(repository, "1")
    found = engine.images.get(name := repository + reference.format(digest=digest))
    listed = listed_name(name, [*found.tags, *found.attrs["RepoDigests"]])
    with pytest.raises(APIError, match="nothing"):  # it holds no program
        run_docker_container(engine, listed, ["nothing"], {})
    assert capsys.readouterr().out == f"Found image {listed!r}\n\n"


@pytest.mark.parametrize(
    ("image", "expected"),
    [("ours:1", "ours:1"), ("ours:2", "ours:2"), ("a.b/ours:3@sha256:02", "a.b/ours@sha256:02")],
)
def test_the_name_asked_for_is_kept_where_it_is_listed(image: str, expected: str) -> None:
    assert listed_name(image, ["ours:0", "ours:1", "a.b/ours@sha256:01", "a.b/ours@sha256:02"]) == expected
