"""Simulated scores with known effects: crossed seeds and images, normal or right and wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from receipt_counter.comparison.effects import Array

# Shares of the variance of the mean: seeds, images, residual.
GAUSSIAN = {
    "seeds": (0.9, 0.05, 0.05),
    "more seeds than images": (0.7, 0.25, 0.05),
    "mixed": (0.45, 0.45, 0.1),
    "more images than seeds": (0.25, 0.65, 0.1),
    "images": (0.02, 0.93, 0.05),
    "residual": (0.0, 0.05, 0.95),
}


@dataclass(frozen=True)
class Latent:
    """How 0/1 scores come about: logit = ease + image + [shift + image's own shift] + seed + residual, all normal."""

    ease: float
    shift: float
    image: float
    image_shift: float
    seed: float
    residual: float = 0.3

    def true_effect(self) -> float:
        """Difference of the probabilities, by Gauss-Hermite quadrature over the sum of the normal parts."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(80)
        before = np.sqrt(self.image**2 + self.seed**2 + self.residual**2)
        after = np.hypot(before, self.image_shift)
        gain = expit(self.ease + self.shift + after * nodes) - expit(self.ease + before * nodes)
        return float(weights @ gain / weights.sum())


BINARY = {
    "0/1, seeds, no effect": Latent(2, 0.0, 2, 0.3, 0.8),
    "0/1, seeds, effect": Latent(2, -0.7, 2, 0.3, 0.8),
    "0/1, mixed, effect": Latent(2, -0.7, 2, 1.0, 0.3),
    "0/1, images, effect": Latent(2, -0.5, 2, 4.0, 0.05),
    "0/1, near 1, no effect": Latent(4, 0.0, 2, 0.5, 0.1),
    "0/1, collapse": Latent(3, -5.0, 2, 1.0, 0.5),
}


def gaussian(
    shares: tuple[float, float, float], effect: float, generator: np.random.Generator, shape: tuple[int, int, int]
) -> Array:
    """Differences [studies, S, N] whose mean has variance 1 around `effect`."""
    studies, seeds, images = shape
    seed, image, residual = np.sqrt(np.multiply(shares, (seeds, images, seeds * images)))
    normal = generator.standard_normal
    parts = seed * normal((studies, seeds, 1)) + image * normal((studies, 1, images)) + residual * normal(shape)
    return np.asarray(parts + effect)


def binary(latent: Latent, generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Differences [studies, S, N] of 0/1 scores."""
    before, after = binary_pair(latent, generator, shape)
    return np.subtract(after, before, dtype=np.float64)


def binary_pair(latent: Latent, generator: np.random.Generator, shape: tuple[int, int, int]) -> tuple[Array, Array]:
    """0/1 scores of baseline and variation, [studies, S, N] each, on the same images."""
    studies, seeds, images = shape
    normal = generator.standard_normal
    ease = latent.ease + latent.image * normal((studies, 1, images))
    moved = ease + latent.shift + latent.image_shift * normal((studies, 1, images))

    def scores(logit: Array) -> Array:
        noise = latent.seed * normal((studies, seeds, 1)) + latent.residual * normal(shape)
        return np.asarray(generator.random(shape) < expit(logit + noise), dtype=np.float64)

    return scores(ease), scores(moved)
