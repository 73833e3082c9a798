"""Where values come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_counter.config.loading import from_yaml, preset_names, resolve, to_yaml
from receipt_counter.config.schema import Config, leaves
from receipt_counter.config.source import read_yaml
from receipt_counter.config.validation import DECLARATIONS, NO_EFFECT
from receipt_counter.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "config" / "multimodal_config.yaml"
DIGEST = "sha256:" + "0123456789abcdef" * 4


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_reference_file_carries_every_default() -> None:
    written = {setting.name: setting.value for setting in read_yaml(REFERENCE)}
    assert list(written) == list(leaves(Config()))
    assert from_yaml(REFERENCE) == Config()


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_valid_and_change_only_what_they_must(name: str) -> None:
    resolved = resolve(None, name)
    defaults = leaves(Config())
    from_preset = {key for key, place in resolved.origins.items() if place == f"preset {name}"}
    assert from_preset == {key for key, value in leaves(resolved.config).items() if value != defaults[key]}


def test_the_demo_only_shortens_the_laptop_schedule() -> None:
    demo, laptop = (leaves(resolve(file, "laptop").config) for file in (ROOT / "config" / "demo.yaml", None))
    assert {key for key in demo if demo[key] != laptop[key]} == {"training.epochs", "training.schedule.epochs"}
    assert demo["training.three_stage.stage3.start_epoch"] < demo["training.epochs"]


class TestOrder:
    """defaults < preset < keys the user's file changes < --set."""

    def test_each_layer_wins_over_the_one_before(self, tmp_path: Path) -> None:
        file = write(tmp_path, "training:\n  epochs: 7\n  gradient_clip: 0.5\n")
        resolved = resolve(file, "laptop", ["training.gradient_clip=0.25"])
        assert resolved.config.training.epochs == 7
        assert resolved.config.training.gradient_clip == 0.25
        assert resolved.origins["training.epochs"] == f"{file}:2"
        assert resolved.origins["training.gradient_clip"] == "--set"
        assert resolved.origins["training.learning_rate"] == "preset laptop"
        assert resolved.origins["model.classes"] == "default"

    def test_a_value_left_at_its_default_yields_to_the_preset_and_says_so(self) -> None:
        resolved = resolve(REFERENCE, "laptop")
        assert resolved.config == resolve(None, "laptop").config
        assert "leaves at their defaults" in resolved.notes[1]

    def test_a_file_that_names_its_preset_means_every_value(self, tmp_path: Path) -> None:
        default = Config().training.learning_rate
        file = write(tmp_path, f"preset: study\ntraining: {{learning_rate: {default}, epochs: 4}}\n")
        resolved = resolve(file)
        assert (resolved.preset, resolved.notes[0]) == ("study", f"preset study: named at {file}:1")
        assert (resolved.config.training.learning_rate, resolved.config.training.epochs) == (default, 4)
        assert resolve(file, "laptop").preset == "laptop"

    def test_a_preset_may_change_another(self) -> None:
        study, laptop = (resolve(None, name).config for name in ("study", "laptop"))
        assert study.training.optimizer == laptop.training.optimizer
        assert (study.data.image_size, laptop.data.image_size) == (64, 128)

    def test_seed_and_data_flags(self, tmp_path: Path) -> None:
        resolved = resolve(None, "laptop", seed=7, data=tmp_path)
        assert (resolved.config.seed, resolved.config.data.path) == (7, str(tmp_path))

    @pytest.mark.parametrize(
        ("weights", "gpu", "small", "expected"),
        [
            (False, False, "laptop", "preset laptop: the weights of OpenGVLab/InternVL3-1B-hf are not on this machine"),
            (False, True, "study", "preset study: the weights of OpenGVLab/InternVL3-1B-hf are not on this machine"),
            (True, False, "laptop", "preset laptop: there is no GPU here"),
            (True, False, "study", "preset study: there is no GPU here"),
            (True, True, "study", "preset full: a GPU and the weights of OpenGVLab/InternVL3-1B-hf are here"),
        ],
    )
    def test_auto_takes_full_only_where_gpu_and_weights_are(
        self, weights: bool, gpu: bool, small: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)  # no test machine has to have one
        if weights:  # as the hub's cache keeps them
            hub = tmp_path / "models--OpenGVLab--InternVL3-1B-hf"
            (hub / "snapshots" / "abc").mkdir(parents=True)
            (hub / "refs").mkdir()
            (hub / "refs" / "main").write_text("abc")
            for name in ("config.json", "model.safetensors"):
                (hub / "snapshots" / "abc" / name).touch()
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        assert resolve(None, "auto", small=small).notes[0] == expected

    def test_auto_says_what_it_took_and_why(self) -> None:
        resolved = resolve(None, "auto")
        assert resolved.preset == "laptop"
        assert resolved.notes[0] == "preset laptop: the weights of OpenGVLab/InternVL3-1B-hf are not on this machine"

    def test_yaml_numbers_that_yaml_reads_as_text(self, tmp_path: Path) -> None:
        assert (
            resolve(write(tmp_path, "training: {learning_rate: 1e-4}"), "laptop").config.training.learning_rate == 1e-4
        )


REFUSED = {
    "misspelled": ("training:\n  learning_rat: 1", ["mine.yaml:2: training.learning_rat", "training.learning_rate?"]),
    "in the wrong group": (
        "training: {image_size: 64}",
        ["training.image_size: unknown key; did you mean data.image_size?"],
    ),
    "group given a value": ("training: {optimizer: adamw}", ["a group, not a value", "training.optimizer.name"]),
    "value given a group": ("training: {epochs: {count: 3}}", ["training.epochs is a value, not a group"]),
    "empty group": ("training: {}", ["training: an empty group"]),
    "not a number": ("training: {epochs: many}", ["training.epochs: 'many' is not a whole number"]),
    "a fraction for a whole number": ("training: {epochs: 1.5}", ["1.5 is not a whole number"]),
    "true for a number": ("training: {epochs: true}", ["True is not a whole number"]),
    "not a number, in a list": ("model: {classifier: {hidden: [a], dropout: [0]}}", ["'a' is not a whole number"]),
    "no list": ("model: {classifier: {hidden: 512}}", ["512 is not a list of whole numbers"]),
    "nan": ("training: {learning_rate: .nan}", ["training.learning_rate: nan is not a number"]),
    "out of bounds": ("training: {learning_rate: 0}", ["0.0 must be above 0"]),
    "not a choice": ("training: {optimizer: {name: adanw}}", ["did you mean 'adamw'?"]),
    "as near to two choices": ("training: {optimizer: {name: adamm}}", ["did you mean 'adamw'?"]),
    "unknown preset": ("preset: labtop\nseed: 1", ["mine.yaml:1: preset: 'labtop'", "did you mean 'laptop'?"]),
    "written twice": ("seed: 1\nseed: 2", ["seed is written twice (first at"]),
    "empty file": ("# nothing\n", ["the config file is empty"]),
    "a list": ("- 1", ["the top level must be a mapping"]),
    "two documents": ("seed: 1\n---\nseed: 2\n", ["mine.yaml:3: a second YAML document begins"]),
    "no YAML": ("training: [", ["mine.yaml:", "not valid YAML"]),
    "lengths differ": ("model: {classifier: {hidden: [8]}}", ["model.classifier.dropout"]),
    "stages out of order": ("training: {three_stage: {stage3: {start_epoch: 1}}}", ["is before stage 2's"]),
    "nothing learnt": ("training: {loss_weights: {classification: 0, language: 0}}", ["both weights are 0"]),
    "easier target": ("gates: {answer_accuracy: {target: 0.1}}", ["the target 0.1 is easier than the minimum"]),
    "objective never measured": (
        "training: {early_stopping: {metric: answer_accuracy}}\nevaluation: {epoch_answer_images: 0}",
        ["answer_accuracy needs evaluation.epoch_answer_images above 0"],
    ),
    "heads": ("model: {cross_attention: {num_heads: 5}}", ["5 heads do not divide the width 64; nearest that does: 4"]),
    "muon and ZeRO": (
        "training: {optimizer: {name: muon}, zero_stage: 1}",
        ["training.optimizer.name", "needs training.zero_stage 0"],
    ),
    "image without a tag": ("cluster: {image: registry:5000/ours}", ["cluster.image: 'registry:5000/ours' is not an"]),
    "image whose tag moves": ("cluster: {image: ours:latest}", ["with a tag other than latest or with a digest"]),
    "no image": ("cluster: {training_image: 'Our Image:1'}", ["cluster.training_image: 'Our Image:1' is not an image"]),
    "half a digest": ("cluster: {image: 'ours@sha256:0123'}", ["'ours@sha256:0123' is not an image"]),
    "image of training by the digest of another": (
        f"cluster: {{gpus: 2, image: 'registry.example/ours:1@{DIGEST}'}}",
        ["cluster.training_image: cluster.image names one image by its digest", "name it by its own digest"],
    ),
    **{
        f"store {place}": (
            f"cluster: {{store: '{place}'}}",
            ["cluster.store: ", "neither an absolute directory nor s3://"],
        )
        for place in (
            "here",
            "/",
            "//a",
            "/a/../b",
            "/a/.",
            "s3://",
            "s3://Bucket/a",
            "s3://bucket/a//b",
            "s3://bucket/../a",
            "s3://b/$(a)",
        )
    },
    "machines without a volume": (
        "cluster: {nodes: 2, store: 's3://bucket/a'}\ntraining: {zero_stage: 0}",
        ["cluster.store: 2 nodes: they write one checkpoint together"],
    ),
    "a quantity": ("cluster: {memory: 64ki}", ["cluster.memory: ", "a quantity as Kubernetes writes them"]),
    "image size": ("data: {image_size: 100}", ["100 is no multiple of 32 (two patches); nearest: 96 or 128"]),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(tmp_path: Path, text: str, expected: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        resolve(write(tmp_path, text), "laptop")
    for part in expected:
        assert part in caught.value.message


@pytest.mark.parametrize(
    "image",
    [
        "ours:1",
        f"ours@{DIGEST}",
        f"team/ours:1.0-a_b@{DIGEST}",
        f"registry/receipt-counter@{DIGEST}",
        f"localhost:5000/ours@{DIGEST}",
        f"registry.example/a/b__c/d--e.f:latest@{DIGEST}",
        "127.0.0.1:5000/ours:latest-1",
    ],
)
def test_names_of_images(image: str, tmp_path: Path) -> None:
    config = resolve(None, "laptop", [f"cluster.image={image}"]).config
    assert config.cluster.image == config.cluster.image_of_training == image
    assert from_yaml(write(tmp_path, to_yaml(config))) == config
    training = [f"cluster.image={image}", f"cluster.training_image={image}", "cluster.gpus=1"]
    assert resolve(None, "full", training).config.cluster.image_of_training == image


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    file = write(tmp_path, "training:\n  epochs: -1\n  epoch: 3\nmodel:\n  classes: 1\n")
    with pytest.raises(UserError) as caught:
        resolve(file, "laptop", ["data.batch_size=none", "nonsense"])
    assert len(caught.value.message.splitlines()) == 5


@pytest.mark.parametrize("preset", ["lapto", "ful", "nothing like it"])
def test_unknown_preset(preset: str) -> None:
    with pytest.raises(UserError, match="no such preset"):
        resolve(None, preset)


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.yaml: no such config file"):
        resolve(tmp_path / "absent.yaml")


WITHOUT_EFFECT = {
    "momentum of adamw": ["training.optimizer.name=adamw", "training.optimizer.momentum=0.5"],
    "betas of sgd": ["training.optimizer.name=sgd", "training.optimizer.betas=[0.8,0.9]"],
    "stages when there is one": ["training.three_stage.enabled=false", "training.three_stage.stage2.start_epoch=3"],
    "stage 2 of a frozen encoder": ["model.freeze_vision_encoder=true", "training.three_stage.stage2.vision_layers=2"],
    "dropout of no heads": ["model.cross_attention.num_heads=0", "model.cross_attention.dropout=0.3"],
    "own vision multiplier in stages": ["training.learning_rate_multipliers.vision=0.5"],
    "multiplier of no layers": [
        "training.three_stage.stage2.vision_layers=0",
        "training.three_stage.stage2.lr_multiplier=0.5",
    ],
    "rendering beside a dataset": ["data.path=/tmp", "data.render.seed=3"],
    "architecture of a checkpoint": ["model.checkpoint=/tmp", "model.architecture.vision_layers=3"],
    "horizon of a constant rate": ["training.schedule.name=constant", "training.schedule.min_ratio=0.5"],
    "patience that is off": ["training.early_stopping.enabled=false", "training.early_stopping.patience=2"],
}


@pytest.mark.parametrize("overrides", WITHOUT_EFFECT.values(), ids=WITHOUT_EFFECT.keys())
def test_keys_without_effect_are_refused(overrides: list[str]) -> None:
    key = overrides[-1].split("=")[0]
    with pytest.raises(UserError, match=f"{key}: has no effect while"):
        resolve(None, "laptop", overrides)


def test_every_rule_of_no_effect_is_tried() -> None:
    tried = {overrides[-1].split("=")[0] for overrides in WITHOUT_EFFECT.values()}
    for rule in NO_EFFECT:
        assert any(key == name or key.startswith(f"{name}.") for key in tried for name in rule.keys), rule


def test_an_override_may_switch_off_what_the_file_sets(tmp_path: Path) -> None:
    file = write(tmp_path, "training: {three_stage: {stage2: {start_epoch: 3}, stage3: {start_epoch: 4}}}")
    assert not resolve(file, "laptop", ["training.three_stage.enabled=false"]).config.training.three_stage.enabled


def test_a_stage_after_the_last_epoch_is_a_warning() -> None:
    notes = resolve(None, "laptop", ["training.epochs=2"]).notes
    assert any("stage 3 never starts" in note for note in notes)


@given(st.sampled_from(sorted(DECLARATIONS)), st.data())
def test_one_wrong_letter_is_mended(name: str, data: st.DataObject) -> None:
    leaf_start = name.rfind(".") + 1
    position = data.draw(st.integers(leaf_start, len(name) - 1))
    misspelled = name[:position] + ("q" if name[position] != "q" else "k") + name[position + 1 :]
    with pytest.raises(UserError) as caught:
        resolve(None, "laptop", [f"{misspelled}=1"])
    assert f"did you mean {name}?" in caught.value.message


def test_yaml_round_trip(tmp_path: Path) -> None:
    config = resolve(None, "laptop", ["model.checkpoint=null", "training.learning_rate=3e-5"]).config
    assert from_yaml(write(tmp_path, to_yaml(config))) == config
