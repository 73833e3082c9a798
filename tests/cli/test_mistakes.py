"""What a user can get wrong on the command line: a message that helps, a status, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from receipt_counter.cli import main

PROJECT = Path(__file__).resolve().parents[2]

MISTAKES = {
    "no command": ([], "COMMAND"),
    "misspelled command": (["rnu"], "did you mean 'run'?"),
    "misspelled part": (["config", "shwo"], "did you mean 'show'?"),
    "misspelled kind of import": (["data", "import", "sroi", "."], "did you mean 'sroie'?"),
    "misspelled option": (["run", "--stroe", "x"], "unknown option: --stroe; did you mean '--store'?"),
    "misspelled option with a value": (["run", "--presett=laptop"], "did you mean '--preset'?"),
    "abbreviated option": (["run", "--exp", "x"], "unknown option: --exp"),
    "option of another command": (["doctor", "--seed", "1"], "unknown option: --seed"),
    "argument too many": (["doctor", "now"], "unexpected argument: now"),
    "option without its value": (["run", "--seed"], "--seed: expected one argument"),
    "seed that is no number": (["run", "--seed", "many"], "--seed: invalid int value: 'many'"),
    "misspelled mode": (["run", "--mode", "singel"], "--mode singel: no such choice; did you mean 'single'?"),
    "workers that are no number": (["run", "--workers", "0"], "--workers: '0' is not a whole number of at least 1"),
    "study file that is not there": (["run", "--mode", "ablation"], "config/ablation_config.yaml: no such study file"),
    "misspelled backend": (["run", "--backend", "locl"], "did you mean 'local'?"),
    "option of another backend": (["run", "--host", "http://x"], "--host: is for --backend kubeflow"),
    "store of a cluster": (["run", "--backend", "kubeflow", "--store", "x"], "where cluster.store says"),
    "workers of a cluster": (["run", "--backend", "kubeflow", "--workers", "2"], "`parallelism` in the study's file"),
    "data out of a cluster's reach": (
        ["run", "--backend", "kubeflow", "--host", "http://x", "--data", "mine"],
        "copy the dataset to a directory below /experiments, where the volume receipt-counter-store is mounted",
    ),
    "data out of a store's reach": (
        ["run", "--backend=kubeflow", "--host=x", "--data=/experiments/mine", "--set=cluster.store=s3://bucket/a"],
        "for example s3://bucket/a/datasets/NAME",
    ),
    "misspelled mode to compile": (["compile", "--mode", "singel", "-o", "x"], "did you mean 'single'?"),
    "misspelled preset": (["run", "--preset", "laptp"], "did you mean 'laptop'?"),
    "misspelled key": (["run", "--set", "training.learning_rat=1"], "did you mean training.learning_rate?"),
    "override without a value": (["run", "--set", "seed"], "seed"),
    "config file that is not there": (["run", "--config", "nowhere.yaml"], "nowhere.yaml: no such config file"),
    "store that is no directory": (["run", "--store", __file__], "this is a file, not a directory"),
    "store of another kind": (["run", "--store", "gs://bucket"], "or s3://bucket/prefix"),
    "store without a bucket": (["run", "--store", "s3://"], "not a URL of the form s3://bucket/prefix"),
    "data that is not there": (["run", "--data", "nowhere"], "nowhere"),
    "data given to render": (["data", "render", "--output", "x", "--data", "y"], "leave it out"),
    "import of what is not there": (["data", "import", "folder", "nowhere", "--output", "x"], "nowhere"),
    "import of an empty sroie": (["data", "import", "sroie", "nowhere", "--output", "x"], "nowhere"),
    "check of what is not there": (["data", "check", "nowhere"], "nowhere"),
    "card of what is not there": (["data", "card", "nowhere"], "nowhere"),
    "predict before a promotion": (["predict", "photo.jpg"], "`receipt-counter promote RUN` does it"),
    "predict without a photo": (["predict", "--model", "x"], "IMAGE"),
    "predict with an unknown run": (["predict", "--model", "nowhere", "photo.jpg"], "nowhere: no run"),
    "promotion of an unknown run": (["promote", "nowhere"], "nowhere: no run"),
    "report of an unknown run": (["report", "nowhere"], "nowhere: no run"),
    "report of an unknown study": (["report", "nowhere"], "nowhere: no study"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert list(tmp_path.iterdir()) == [], "a mistake leaves nothing behind"


def test_several_mistakes_are_reported_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--set", "seed=-1", "--set", "trainig.epochs=3"]) == 2
    error = capsys.readouterr().err
    assert "seed" in error
    assert "training.epochs" in error


ORCHESTRATOR_MISTAKES = {
    "misspelled mode": (["--config", "c.yaml", "--mode", "ablatoin"], "did you mean 'ablation'?"),
    "study file": (["--mode", "ablation", "--ablation-config", "a.yaml"], "a.yaml: no such study file"),
    "unknown option": (["--config", "c.yaml", "--stroe", "x"], "did you mean '--store'?"),
}


@pytest.mark.parametrize(("arguments", "message"), ORCHESTRATOR_MISTAKES.values(), ids=ORCHESTRATOR_MISTAKES.keys())
def test_orchestrator_mistake(arguments: list[str], message: str, tmp_path: Path) -> None:
    """From another directory, with nothing on the path: the script finds its own project."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    script = PROJECT / "scripts" / "train_orchestrator.py"
    done = subprocess.run(
        [sys.executable, script, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [], "a mistake leaves nothing behind"


def test_interrupt_has_its_own_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("receipt_counter.cli.doctor.examine_machine", interrupted)
    assert main(["doctor"]) == 130


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    code = "from receipt_counter.cli.main import build_parser; build_parser().format_help(); print(*sys.modules)"
    command = [sys.executable, "-c", f"import sys; {code}"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "kfp", "numpy", "pandas", "rich", "yaml"} & set(done.stdout.split())


def test_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m receipt_counter config show --preset laptop | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
