"""Scenes and configs the renderer's tests share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from receipt_counter.config.schema import Config, Data, QuestionMix, Render
from receipt_counter.data.render.scene import Scene, draw_scene


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    """Three hundred pictures' worth of scenes at full size."""
    return [draw_scene(7, "train", index, 448, 5) for index in range(300)]


@pytest.fixture
def small_config() -> Callable[..., Config]:
    """Makes a config of a few small pictures; keywords replace keys of `data.render`, `image_size` that of `data`."""

    def make(image_size: int = 64, mix: dict[str, float] | None = None, **render: Any) -> Config:
        sizes = {"train_images": 120, "val_images": 20, "analysis_images": 20, "test_images": 20}
        settings = Render(**{**sizes, **render})
        if mix is not None:
            nothing = dict.fromkeys((item.name for item in dataclasses.fields(QuestionMix)), 0.0)
            settings = dataclasses.replace(settings, question_mix=QuestionMix(**{**nothing, **mix}))
        return Config(data=Data(image_size=image_size, render=settings))

    return make
