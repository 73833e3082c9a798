"""What Pipelines says of itself, as its API server and its UI write it, and where it is looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from receipt_counter.cluster.pipelines import Health, endpoint, read_health
from receipt_counter.errors import UserError

UI = '{"apiServerCommitHash": "c", "apiServerTagName": "2.16.1", "apiServerMultiUser": true, "multi_user": true'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"commit_sha": "c", "tag_name": "2.17.0", "multi_user": false}', Health("2.17.0", False)),
        ('{"commit_sha": "c", "tag_name": "unknown", "multi_user": true}', Health("unknown", True)),
        (f'{UI}, "apiServerReady": true}}', Health("2.16.1", True)),
        ("{}", Health("unknown", False)),
    ],
    ids=["API server", "built by hand", "UI", "nothing"],
)
def test_answers(text: str, expected: Health) -> None:
    assert read_health(text, "there") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>Log in</html>", "there answers with a page"),
        ('"ok"', "there answers with a page"),
        (f'{UI}, "apiServerReady": false}}', "its UI answers, the API server behind that does not"),
    ],
    ids=["login", "something else", "UI alone"],
)
def test_what_is_not_pipelines(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_health(text, "there")


@pytest.mark.parametrize(
    ("version", "secured", "warning"),
    [
        ("2.14.3", False, "2.15 to 2.17 are supported"),
        ("2.15.0", False, "no security context"),
        ("v2.16.0", True, ""),
        ("2.17.9", True, ""),
        ("2.18.0", True, "2.15 to 2.17 are supported"),
        ("3.0.0", True, "2.15 to 2.17 are supported"),
        ("unknown", True, "does not say its version"),
    ],
)
def test_versions(version: str, secured: bool, warning: str) -> None:
    health = Health(version, True)
    assert health.takes_security_context is secured
    assert warning in health.warning
    assert bool(warning) is bool(health.warning)


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KF_PIPELINES_ENDPOINT", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with pytest.raises(UserError, match="--host: where is Kubeflow Pipelines"):
        endpoint(None)
    (tmp_path / "config").touch()
    assert endpoint(None) is None
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}{os.pathsep}{tmp_path / 'config'}")
    assert endpoint(None) is None
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "kubeflow.example/pipeline/")
    assert endpoint(None) == "https://kubeflow.example/pipeline"
    assert endpoint("http://localhost:8080/") == "http://localhost:8080"
