"""A trial: one variant with every seed, really trained, and what it says on standard output."""

from __future__ import annotations

from pathlib import Path

import pytest

from receipt_counter.config.loading import to_yaml
from receipt_counter.storage.files import read_json
from receipt_counter.study import trial
from receipt_counter.study.variants import Variant, write_variants
from tests.support import small_config, write_squares


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a config, its dataset and some variants."""
    directory = tmp_path_factory.mktemp("trial")
    dataset = write_squares(directory / "data", {"train": 24, "val": 8, "analysis": 8})
    config = small_config(f"data.path={dataset.path}", "training.epochs=1", "training.three_stage.enabled=false")
    (directory / "config.yaml").write_text(to_yaml(config))
    variants = [
        Variant("baseline", {}),
        Variant("slow", {"training.learning_rate": 1e-5}),
        Variant("pointless", {"model.architecture.vision_width": 48, "model.checkpoint": "/nowhere"}),
    ]
    (directory / "variants.yaml").write_text(write_variants(variants))
    return directory


@pytest.fixture(autouse=True)
def no_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial tells its environment what its runs are called; here that is the tests'."""
    for variable in (trial.STUDY, trial.TRIAL, trial.LABEL):
        monkeypatch.setenv(variable, "")


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a trial in this process: (exit status, its name=value lines, what it said on stderr)."""
    monkeypatch.setenv(trial.STORE, str(place / "store"))

    def call(*arguments: str):
        status = trial.main(["--config", str(place / "config.yaml"), *arguments])
        said = capsys.readouterr()
        lines = [line.split("=", 1) for line in said.out.splitlines() if "=" in line]
        return status, [(name, float(value)) for name, value in lines], said.err

    return call


def runs(place: Path) -> dict[str, dict[str, object]]:
    return {file.parent.name: read_json(file) for file in (place / "store" / "runs").glob("*/run.json")}


def test_a_trial_prints_the_mean_over_its_seeds_last(place: Path, run) -> None:
    status, lines, _ = run("--seeds", "1,2", "--set", "training.learning_rate=1e-3")
    assert status == 0
    made = [record for record in runs(place).values() if record["seed"] in (1, 2)]
    assert len(made) == 2
    for name in ("classification_accuracy", "val_total_loss", "answer_accuracy"):
        expected = sum(record["splits"]["val"][name] for record in made) / 2
        assert dict(lines)[name] == pytest.approx(expected)
    before = runs(place)
    again, repeated, _ = run("--seeds", "1,2", "--set", "training.learning_rate=1e-3")
    assert (again, dict(repeated)["classification_accuracy"]) == (0, dict(lines)["classification_accuracy"])
    assert runs(place) == before  # finished runs are not touched


def test_a_variant_is_judged_on_the_analysis_split(place: Path, run) -> None:
    variants = str(place / "variants.yaml")
    status, lines, _ = run("--variants", variants, "--variant", "slow", "--seeds", "3", "--split", "analysis")
    assert status == 0
    ((name, record),) = [found for found in runs(place).items() if found[1]["seed"] == 3]
    figures = record["splits"]["analysis"]
    assert dict(lines)["classification_accuracy"] == pytest.approx(figures["classification_accuracy"])
    assert "learning_rate: 1.0e-05" in (place / "store" / "runs" / name / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    {
        "unknown variant": (("--variants", "{place}/variants.yaml", "--variant", "slwo"), "did you mean 'slow'?"),
        "no file of variants": (("--variant", "slow"), "--variants"),
        "no such file": (("--variants", "{place}/none.yaml", "--variant", "slow"), "cannot read the variants"),
        "misspelled key": (("--set", "training.learnin_rate=1"), "did you mean training.learning_rate?"),
        "overrides without effect": (
            ("--variants", "{place}/variants.yaml", "--variant", "pointless"),
            "has no effect while model.checkpoint is",
        ),
    }.values(),
)
def test_mistakes_are_messages(place: Path, run, arguments: tuple[str, ...], message: str) -> None:
    status, lines, said = run("--seeds", "1", *(argument.format(place=place) for argument in arguments))
    assert (status, lines) == (2, [])
    assert message in said


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        (["--set", "training.learning_rate=1e-3"], "learning_rate=1e-3-seed1"),
        (["--set", "training.learning_rate=0.0012520653814999472"], "learning_rate=0.001252-seed1"),
        (["--set", "training.schedule.name=cosine-like"], "name=cosine-like-seed1"),
        (["--variants", "VARIANTS", "--variant", "slow"], "slow-seed1"),
        ([], "baseline-seed1"),
        (
            [
                "--set",
                "training.three_stage.stage2.lr_multiplier=1",
                "--set",
                "training.three_stage.stage3.lr_multiplier=2",
            ],
            "stage2.lr_multiplier=1,stage3.lr_multiplier=2-seed1",
        ),
    ],
)
def test_what_tensorboard_calls_its_runs(arguments: list[str], label: str) -> None:
    parsed = trial._parser().parse_args(["--config", "c", "--seeds", "1", *arguments])
    assert trial._label(parsed, 1) == label


def test_a_run_says_what_each_of_its_studies_calls_it(place: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trial.TRIAL, "first-1a2b3c4d-x7f2k9q1")  # all that Katib tells
    assert run("--seeds", "7")[0] == 0
    monkeypatch.setenv(trial.STUDY, "second")
    assert run("--seeds", "7", "--variants", str(place / "variants.yaml"), "--variant", "baseline")[0] == 0
    (events,) = {file.parent for file in (place / "store" / "runs").glob("*/events/*.label")}
    assert {file.name: file.read_text() for file in events.glob("*.label")} == {
        "first-1a2b3c4d.label": "baseline-seed7",
        "second.label": "baseline-seed7",
    }
