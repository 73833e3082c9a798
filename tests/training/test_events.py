"""What a run tells TensorBoard and the metrics collector."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util import tensor_util

from receipt_counter.config.schema import leaves
from receipt_counter.training.events import EventLog
from tests.support import small_config


@pytest.fixture
def read(tmp_path: Path) -> EventAccumulator:
    with EventLog(tmp_path, small_config(), 0) as events:
        events.write(1, {"train_total_loss": 2.5, "grad_norm": float("nan")})
        events.write(2, {"train_total_loss": float("inf"), "grad_norm": 0.5})
    accumulator = EventAccumulator(str(tmp_path))
    accumulator.Reload()
    return accumulator


def test_what_is_not_finite_is_not_in_the_events(read: EventAccumulator) -> None:
    points = {tag: [(point.step, point.value) for point in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
    assert points == {"train_total_loss": [(1, 2.5)], "grad_norm": [(2, 0.5)]}


def test_what_is_not_finite_is_not_in_the_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EventLog(tmp_path, small_config(), 0) as events:
        events.write(1, {"train_total_loss": 2.5, "grad_norm": float("nan")})
    assert capsys.readouterr().out == "train_total_loss=2.5\n"


def test_every_key_is_a_hyperparameter(read: EventAccumulator) -> None:
    content = read.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    found = HParamsPluginData.FromString(content).session_start_info.hparams
    assert set(found) == set(leaves(small_config()))
    assert found["training.learning_rate"].number_value == 0.002


def test_the_layout_shows_losses_figures_and_rates(read: EventAccumulator) -> None:
    (tag,) = read.PluginTagToContent("custom_scalars")
    layout = Layout.FromString(tensor_util.make_ndarray(read.Tensors(tag)[0].tensor_proto).item())
    assert [category.title for category in layout.category] == ["losses", "counting", "answers", "optimisation"]
