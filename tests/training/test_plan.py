"""What trains when, at which rate, and when training stops: the plan of a run, without running it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_counter.config.schema import Config, EarlyStopping, Schedule
from receipt_counter.model.build import build_model
from receipt_counter.training.batches import derived_seed, pass_order
from receipt_counter.training.early_stopping import ObjectiveTracker
from receipt_counter.training.optimizer import build_optimizer, parameter_groups, set_learning_rates
from receipt_counter.training.schedule import schedule_factor
from receipt_counter.training.stages import apply_stage, plan_stages
from tests.support import small_config

PARTS = {"vision", "projector", "language", "cross_attention", "head"}
STAGES = {
    "the reference": ((), [(1, 1, 5, 0), (2, 6, 10, 4), (3, 11, 15, -1)]),
    "one stage": (("three_stage.enabled=false",), [(1, 1, 15, -1)]),
    "no first stage": (("three_stage.stage2.start_epoch=1",), [(2, 1, 10, 4), (3, 11, 15, -1)]),
    "no second stage": (("three_stage.stage3.start_epoch=6",), [(1, 1, 5, 0), (3, 6, 15, -1)]),
    "cut short": (("epochs=7",), [(1, 1, 5, 0), (2, 6, 7, 4)]),
    "never reached": (("epochs=2",), [(1, 1, 2, 0)]),
}


def reference(*overrides: str) -> Config:
    from receipt_counter.config.loading import resolve

    base = (
        "training.epochs=15",
        "training.three_stage.stage2.start_epoch=6",
        "training.three_stage.stage3.start_epoch=11",
        "training.three_stage.stage2.vision_layers=4",
    )
    chosen = [f"training.{override}" for override in overrides]
    if "training.three_stage.enabled=false" in chosen:
        return resolve(None, "laptop", ["training.epochs=15", *chosen]).config
    return resolve(None, "laptop", [*base, *chosen]).config


@pytest.mark.parametrize(("overrides", "expected"), STAGES.values(), ids=STAGES.keys())
def test_stages(overrides: tuple[str, ...], expected: list[tuple[int, ...]]) -> None:
    stages = plan_stages(reference(*overrides))
    assert [(s.number, s.first_epoch, s.last_epoch, s.vision_layers) for s in stages] == expected


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 30))
def test_stages_cover_every_epoch_once(epochs: int, second: int, gap: int) -> None:
    starts = (f"three_stage.stage2.start_epoch={second}", f"three_stage.stage3.start_epoch={second + gap}")
    stages = plan_stages(reference(f"epochs={epochs}", *starts))
    covered = itertools.chain.from_iterable(range(s.first_epoch, s.last_epoch + 1) for s in stages)
    assert list(covered) == list(range(1, epochs + 1))


class TestWhatTrains:
    """Parameters opened by each stage."""

    config = small_config(
        "training.three_stage.stage2.vision_layers=1",
        "training.three_stage.stage2.lr_multiplier=0.5",
        "training.three_stage.stage3.lr_multiplier=0.25",
    )

    def trainable(self, config: Config, number: int) -> dict[str, set[str]]:
        model, _ = build_model(config, ["How many receipts do you see?"])
        stage = next(stage for stage in plan_stages(config) if stage.number == number)
        return {part: {name for name, _ in members} for part, members in apply_stage(model, stage).items()}

    def test_stage_1_leaves_the_vision_encoder_alone(self) -> None:
        assert set(self.trainable(self.config, 1)) == PARTS - {"vision"}

    def test_stage_2_opens_the_last_layers_only(self) -> None:
        names = self.trainable(self.config, 2)["vision"]
        assert names
        assert all(".encoder.layer.1." in name for name in names)

    def test_stage_3_opens_everything(self) -> None:
        model, _ = build_model(self.config, ["How many receipts do you see?"])
        opened = {name for names in self.trainable(self.config, 3).values() for name in names}
        assert opened == {name for name, _ in model.named_parameters()}

    def test_a_frozen_encoder_never_opens(self) -> None:
        config = small_config("model.freeze_vision_encoder=true")
        assert all("vision" not in self.trainable(config, stage.number) for stage in plan_stages(config))

    def test_a_multiplier_of_zero_freezes(self) -> None:
        config = small_config("training.learning_rate_multipliers.language=0")
        assert "language" not in self.trainable(config, 1)

    def test_multipliers_replace_while_the_stage_lasts(self) -> None:
        own = dict.fromkeys(PARTS, 1.0)
        first, second, third = plan_stages(self.config)
        assert dict(first.multipliers) == own
        assert dict(second.multipliers) == {**own, "vision": 0.5}
        assert dict(third.multipliers) == dict.fromkeys(PARTS, 0.25)


def test_norms_biases_and_gates_are_not_decayed() -> None:
    config = small_config()
    model, _ = build_model(config, ["How many receipts do you see?"])
    stage = plan_stages(config)[-1]
    groups = parameter_groups(apply_stage(model, stage), stage, 0.05)
    for group in groups:
        assert all((parameter.ndim > 1) == (group["weight_decay"] > 0) for parameter in group["params"])
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


@pytest.mark.parametrize("name", ["adamw", "nadam", "radam", "sgd", "muon"])
def test_optimizers_take_each_parts_rate(name: str) -> None:
    config = small_config(f"training.optimizer.name={name}", "training.learning_rate_multipliers.head=0.5")
    model, _ = build_model(config, ["How many receipts do you see?"])
    stage = plan_stages(config)[0]
    optimizer = build_optimizer(config.training.optimizer, parameter_groups(apply_stage(model, stage), stage, 0.1))
    rates = set_learning_rates(optimizer, 0.01)
    assert rates == {"projector": 0.01, "language": 0.01, "cross_attention": 0.01, "head": 0.005}
    assert {group["lr"] for group in optimizer.param_groups} == {0.01, 0.005}


SHAPES = {
    "first step of warm-up": (Schedule(warmup_steps=10), 0, 0.1),
    "end of warm-up": (Schedule(warmup_steps=10), 9, 1.0),
    "cosine at its top": (Schedule(warmup_steps=0), 0, 1.0),
    "cosine half-way": (Schedule(warmup_steps=0, epochs=2), 10, 0.55),
    "cosine at the horizon": (Schedule(warmup_steps=0, epochs=2), 20, 0.1),
    "beyond the horizon": (Schedule(warmup_steps=0, epochs=2), 100, 0.1),
    "linear half-way": (Schedule(name="linear", warmup_steps=0, epochs=2, min_ratio=0.0), 10, 0.5),
    "constant": (Schedule(name="constant", warmup_steps=0), 1000, 1.0),
}


@pytest.mark.parametrize(("schedule", "step", "expected"), SHAPES.values(), ids=SHAPES.keys())
def test_schedule(schedule: Schedule, step: int, expected: float) -> None:
    assert schedule_factor(schedule, step, steps_per_epoch=10) == pytest.approx(expected)


@given(st.sampled_from(["cosine", "linear", "constant"]), st.integers(0, 50), st.integers(0, 500))
def test_schedule_stays_within_its_bounds(name: str, warmup: int, step: int) -> None:
    factor = schedule_factor(Schedule(name=name, warmup_steps=warmup, epochs=10), step, steps_per_epoch=20)
    assert 0.0 < factor <= 1.0


PATIENCE = {
    "never improves": ([1.0, 1.0, 1.0], 1, [False, False, True]),
    "improves each time": ([1.0, 0.8, 0.6], 3, [False, False, False]),
    "too little to count": ([1.0, 0.995, 0.992], 3, [False, False, True]),
    "little by little": ([1.0, 0.995, 0.985], 3, [False, False, False]),
    "missing values": ([1.0, None, None], 1, [False, False, True]),
    "nothing but missing values": ([None, None], 0, [False, True]),
}


@pytest.mark.parametrize(("values", "best", "stops"), PATIENCE.values(), ids=PATIENCE.keys())
def test_early_stopping(values: list[float | None], best: int, stops: list[bool]) -> None:
    settings = EarlyStopping(patience=2, min_delta=0.01)
    tracker, stopped = ObjectiveTracker(), []
    for epoch, value in enumerate(values, start=1):
        tracker.update(settings, epoch, value)
        stopped.append(tracker.should_stop(settings))
    assert stopped == stops
    assert tracker.best_epoch == best


def test_higher_is_better_for_accuracy() -> None:
    tracker, settings = ObjectiveTracker(), EarlyStopping(metric="classification_accuracy")
    assert tracker.update(settings, 1, 0.5)
    assert not tracker.update(settings, 2, 0.4)
    assert tracker.update(settings, 3, 0.6)
    assert tracker.best_epoch == 3


@given(st.lists(st.integers(1, 400), min_size=8, max_size=200), st.integers(1, 8), st.integers(0, 2**31 - 1))
def test_an_epoch_shows_each_image_at_most_once(lengths: list[int], batch: int, seed: int) -> None:
    batches = pass_order(lengths, seed, 1, batch)
    shown = [index for members in batches for index in members]
    assert len(shown) == len(set(shown))
    assert all(len(members) == batch for members in batches)
    assert len(lengths) - len(shown) < batch
    assert batches == pass_order(lengths, seed, 1, batch)


def test_epochs_differ_and_seeds_differ() -> None:
    orders = [pass_order([1] * 64, seed, epoch, 8) for seed in (1, 2) for epoch in (1, 2)]
    assert all(one != other for one, other in itertools.combinations(orders, 2))
    assert derived_seed(1, 2) != derived_seed(2, 1)


def test_batches_hold_texts_of_similar_length() -> None:
    lengths = [index % 97 for index in range(1024)]
    spread = [max(chosen) - min(chosen) for b in pass_order(lengths, 0, 1, 16) if (chosen := [lengths[i] for i in b])]
    assert sum(spread) / len(spread) < 15  # 97 without bucketing
