"""Search spaces and grids, as Katib computes and formats them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubeflow_katib_api.models import V1beta1Experiment

from receipt_counter.errors import UserError
from receipt_counter.katib.space import Parameter, combinations, grid, search_space
from tests.katib.documents import LAYERS, OPTIMIZER, RATE, experiment

GRIDS = {
    "double": (Parameter("a", "double", 0.001, 0.004, 0.001), ("0.001", "0.002", "0.003", "0.004")),
    "rounded": (Parameter("a", "double", 0.1, 0.4, 0.1), ("0.1", "0.2", "0.30000000000000004", "0.4")),
    "maximum lost to rounding": (Parameter("a", "double", 1e-05, 3e-05, 1e-05), ("1e-05", "2e-05")),
    "whole double": (Parameter("a", "double", 1.0, 2.0, 1.0), ("1.0", "2.0")),
    "int": (Parameter("a", "int", 2, 7, 2), ("2", "4", "6")),
    "one value": (Parameter("a", "int", 3, 3, 1), ("3",)),
    "list": (Parameter("a", "categorical", values=("x", "1e-5")), ("x", "1e-5")),
}


@pytest.mark.parametrize("name", GRIDS)
def test_grid_values_are_the_texts_katib_passes(name: str) -> None:
    parameter, expected = GRIDS[name]

    assert parameter.grid() == expected
    assert parameter.size == len(expected)


@settings(max_examples=300, deadline=None)
@given(low=st.floats(-1e3, 1e3), width=st.floats(0, 100), step=st.floats(0.01, 50))
def test_grids_of_doubles_equal_numpys(low: float, width: float, step: float) -> None:
    high = low + width
    values = np.arange(low, high + step, step)  # what Katib's search_space.py does
    values = values[:-1] if values[-1] > high else values

    parameter = Parameter("a", "double", low, high, step)

    assert parameter.grid() == tuple(str(float(value)) for value in values)
    assert parameter.size == len(values)


def test_a_double_without_step_has_no_grid() -> None:
    with pytest.raises(UserError, match=r"parameter a: a grid needs its feasibleSpace\.step"):
        Parameter("a", "double", 0, 1).grid()


def test_huge_grids_are_counted_without_enumerating() -> None:
    parameters = [Parameter("a", "double", 0, 1e6, 1e-3), Parameter("b", "int", 1, 10**9, 1)]

    assert combinations(parameters) == (10**9 + 1) * 10**9
    assert Parameter("a", "int", 1, 2, 1).size == 2


def test_the_grid_has_every_combination_once_in_a_fixed_order() -> None:
    parameters = (Parameter("a", "int", 1, 2, 1), Parameter("b", "categorical", values=("x", "y", "z")))

    points = list(grid(parameters))

    assert points[:2] == [{"a": "1", "b": "x"}, {"a": "1", "b": "y"}]
    assert len({tuple(point.items()) for point in points}) == len(points) == combinations(parameters) == 6
    assert list(grid(parameters)) == points


def test_the_search_space_is_read_in_its_order() -> None:
    log = {**RATE, "feasibleSpace": {"min": "1e-5", "max": "1e-3", "distribution": "logUniform"}}

    found = search_space(V1beta1Experiment.from_dict(experiment(parameters=[log, LAYERS, OPTIMIZER])))

    assert found == (
        Parameter("rate", "double", 1e-5, 1e-3, None, True, "logUniform"),
        Parameter("layers", "int", 2, 5, 1),
        Parameter("optimizer", "categorical", values=("sgd", "adam")),
    )
