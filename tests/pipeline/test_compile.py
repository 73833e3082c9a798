"""The pipelines compile, and what they compile to is what Kubeflow needs."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

import components
from pipelines.__main__ import PIPELINES, compile_all

PROJECT = Path(__file__).resolve().parents[2]
COMPONENT_FILES = sorted((PROJECT / "components").glob("*/component.py"))
STEPS = ["evaluate", "prepare-data", "train", "visualize"]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return specs(tmp_path_factory.mktemp("compiled"))["single"]


def specs(directory: Path) -> dict[str, dict[str, Any]]:
    """{pipeline: what it compiles to}."""
    return {file.stem: next(yaml.safe_load_all(file.read_text())) for file in compile_all(directory)}


def executors(spec: dict[str, Any]) -> dict[str, Any]:
    return {name: entry["container"] for name, entry in spec["deploymentSpec"]["executors"].items()}


def test_every_pipeline_module_is_compiled() -> None:
    wiring = {path.stem for path in (PROJECT / "pipelines").glob("*.py")} - {"__init__", "__main__", "local"}
    assert wiring == set(PIPELINES)


def test_steps_run_in_our_image_and_install_nothing(tmp_path: Path) -> None:
    for pipeline, compiled in specs(tmp_path).items():
        for name, container in executors(compiled).items():
            trains = name in ("exec-train", "exec-evaluate")
            assert container["image"] == components.IMAGE + "-gpu" * trains, (pipeline, name)
            assert "pip" not in " ".join(container["command"] + container["args"]), (pipeline, name)


def test_studies_are_wired_in_order(tmp_path: Path) -> None:
    compiled = specs(tmp_path)

    def order(dag: dict[str, Any]) -> dict[str, list[str]]:
        return {name: sorted(task.get("dependentTasks", [])) for name, task in dag["dag"]["tasks"].items()}

    assert order(compiled["ablation"]["root"]) == {
        "prepare-data": [],
        "sweep": ["prepare-data"],
        "tensorboard": ["prepare-data"],
        "compare": ["sweep"],
    }
    assert order(compiled["hyperparameter"]["root"]) == {
        "prepare-data": [],
        "sweep": ["prepare-data"],
        "tensorboard": ["prepare-data"],
        "compare": ["sweep"],
        "sweep-2": ["compare"],
        "compare-2": ["compare", "sweep", "sweep-2"],
        "promote": ["compare-2"],
    }
    assert order(compiled["all"]["root"]) == {
        "receipt-counter-single": [],
        "receipt-counter-hyperparameter": ["receipt-counter-single"],
        "receipt-counter-ablation": ["receipt-counter-single"],
    }


def test_single_has_the_four_steps_in_order(spec: dict[str, Any]) -> None:
    tasks = spec["root"]["dag"]["tasks"]
    assert sorted(tasks) == STEPS
    assert {name: sorted(task.get("dependentTasks", [])) for name, task in tasks.items()} == {
        "prepare-data": [],
        "train": ["prepare-data"],
        "evaluate": ["prepare-data", "train"],
        "visualize": ["evaluate", "train"],
    }


@pytest.mark.parametrize("step", STEPS)
def test_each_step_is_cached_by_code_version(spec: dict[str, Any], step: str) -> None:
    task = spec["root"]["dag"]["tasks"][step]
    assert task["cachingOptions"]["enableCache"] is True
    assert task["inputs"]["parameters"]["code_version"] == {"componentInputParameter": "code_version"}


@pytest.mark.parametrize(
    ("step", "kinds"),
    [
        ("prepare-data", {"system.Dataset", "system.Metrics", "system.Markdown"}),
        ("train", {"system.Model", "system.Metrics"}),
        ("evaluate", {"system.Artifact", "system.Metrics", "system.ClassificationMetrics", "system.Markdown"}),
        ("visualize", {"system.HTML", "system.Markdown"}),
    ],
)
def test_each_step_shows_itself_in_the_kubeflow_ui(spec: dict[str, Any], step: str, kinds: set[str]) -> None:
    outputs = spec["components"][f"comp-{step}"]["outputDefinitions"]["artifacts"]
    assert {output["artifactType"]["schemaTitle"] for output in outputs.values()} == kinds


@pytest.mark.parametrize("file", COMPONENT_FILES, ids=lambda file: file.parent.name)
def test_components_are_thin(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 80


@pytest.mark.parametrize("file", sorted((PROJECT / "receipt_counter").rglob("*.py")), ids=lambda file: file.stem)
def test_the_library_does_not_import_kfp(file: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    assert not imported & {"kfp", "components", "pipelines"}


def test_every_output_artifact_leaves_a_file() -> None:
    """kfp's local cache takes an entry for stale when an artifact's file is absent: components must write one."""
    for file in COMPONENT_FILES:
        source = file.read_text()
        outputs = [line.split(":")[0].strip() for line in source.splitlines() if "dsl.Output[" in line]
        for name in outputs:
            assert f"{name}.path" in source or f"hand_on({name}, " in source, f"{file.parent.name}: {name}"
