"""The pipeline's steps: each a thin wrapper that hands its inputs to the library and its results to Kubeflow."""

import os
from collections.abc import Callable
from typing import Any, cast

from kfp import dsl

import receipt_counter

# The image the steps run in on a cluster, decided when a pipeline is compiled; the local runner ignores it.
IMAGE = os.environ.get(receipt_counter.IMAGE_VARIABLE, receipt_counter.IMAGE)


def component(function: Callable[..., object]) -> Callable[..., Any]:
    """Make a function a lightweight component in our image, which holds all it needs: no step installs anything."""
    return cast(Callable[..., Any], dsl.component(base_image=IMAGE, install_kfp_package=False)(function))
