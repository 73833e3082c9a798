"""The promote component: it compiles for Kubeflow, and it runs in kfp's local runner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler

import components
from components.promote.component import promote
from tests.promotion.fabricate import fabricate_run, predictions

PROJECT = Path(__file__).resolve().parents[2]


def test_it_compiles_to_what_kubeflow_needs(tmp_path: Path) -> None:
    file = tmp_path / "promote.yaml"
    compiler.Compiler().compile(promote, str(file))
    spec = yaml.safe_load(file.read_text())
    (executor,) = spec["deploymentSpec"]["executors"].values()
    assert executor["container"]["image"] == components.IMAGE
    assert "pip" not in " ".join(executor["container"]["command"] + executor["container"]["args"])
    found = spec["components"]["comp-promote"]
    assert set(found["inputDefinitions"]["parameters"]) == {"store", "name", "code_version"}
    (output,) = found["outputDefinitions"]["artifacts"].values()
    assert output["artifactType"]["schemaTitle"] == "system.Markdown"


def promote_in_kfp(store: Path, *run_ids: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.promotion", str(store), *run_ids],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.partition("DECISION ")[2] for line in done.stdout.splitlines()]
    return [json.loads(line) for line in lines if line]


def test_a_refusal_is_a_result_and_no_failed_step(tmp_path: Path) -> None:
    fabricate_run(tmp_path, "aaa111", predictions(wrong=range(0, 12)))
    fabricate_run(tmp_path, "bbb222", predictions(wrong=range(0, 30)))
    first, refused, again = promote_in_kfp(tmp_path, "aaa111", "bbb222", "aaa111")
    told = [{key: one[key] for key in ("outcome", "promoted", "version")} for one in (first, refused, again)]
    assert told == [
        {"outcome": "promoted", "promoted": True, "version": "slips/1"},
        {"outcome": "refused", "promoted": False, "version": ""},
        {"outcome": "unchanged", "promoted": True, "version": "slips/1"},
    ]
    gate = "counting accuracy: 85.0 % is below the minimum 90.0 % (target 95.0 %)"
    assert refused["reasons"].startswith(gate)
    assert refused["page"].startswith(f"# Not promoted: run bbb222\n\n- {gate}\n")
    for heading in ("## Promotion gates, test split", "## Compared with slips/1, on the same images"):
        assert heading in refused["page"]
    assert first["page"].startswith("# Promoted: run aaa111 is slips/1 now, the current version\n")
    assert (tmp_path / "models" / "slips" / "CURRENT").read_text() == "1\n"
