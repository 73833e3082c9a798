"""Are a study's intervals and p-values right? Simulated studies with known effects.

Coverage: how often the 95 % interval holds the true effect, and its mean width in widths of the interval of somebody
who knows the variance; beside it Satterthwaite's interval, the paired t interval over seeds, and a bootstrap that draws
seeds and then images within each. Whole studies: 10 variations x 3 correlated metrics beside one baseline, where some
variations spread ten times as much over seeds; how often the correction finds a difference where none is, and how often
what is there; beside it Holm's correction with equal weights, and variances moderated by those of other variations.

    python benchmarks/coverage.py                  # 2,000 studies a setting: about 3 minutes on one core
    python benchmarks/coverage.py --studies 400
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy.special import ndtri, stdtrit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the modules beside this one, also when it runs as a file

from benchmarks.simulated_scores import BINARY, GAUSSIAN, Latent, binary, binary_pair, gaussian
from benchmarks.simulated_studies import BEYOND, METRICS, STUDIES, VARIATIONS, Outcome, measure_studies
from receipt_counter.comparison.effects import LEVEL, Array, MeanSquares, estimate, mean_squares, mean_variance
from receipt_counter.comparison.jackknife import image_contributions
from receipt_counter.evaluation.bootstrap import ImageStatistics, Sums
from receipt_counter.evaluation.metrics import bleu, classification_figures

SEEDS = (3, 5, 10)
WANTED = 0.93
METHODS = ("ours", "Satterthwaite", "t over seeds", "nested bootstrap")
STUDY_SEEDS, STUDY_IMAGES = (3, 5, 7, 10), 60


def nested_bootstrap(differences: Array, generator: np.random.Generator, resamples: int = 400) -> tuple[Array, Array]:
    """Percentile interval of a bootstrap that draws seeds, then images within each: (low, high) of each study."""
    _, seeds, images = differences.shape
    weights = generator.multinomial(images, np.full(images, 1 / images), resamples) / images
    redrawn = differences @ weights.T  # [studies, S, resamples]: each seed's mean over images drawn again
    drawn = generator.integers(seeds, size=(resamples, seeds))
    draws = np.array([generator.permutation(resamples) for _ in range(seeds)]).T  # each drawn seed has its own images
    means = redrawn[:, drawn, draws].mean(axis=-1)
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=-1)
    return low, high


def satterthwaite(squares: MeanSquares, seeds: int, images: int) -> Array:
    """Half the width of Satterthwaite's interval, negative components counted as 0."""
    variance = mean_variance(squares)
    degrees = ((squares.seed, seeds - 1), (squares.image, images - 1), (squares.residual, (seeds - 1) * (images - 1)))
    df = np.maximum(variance**2 / np.sum([square**2 / df for square, df in degrees], axis=0), seeds - 1)
    return np.asarray(np.sqrt(variance / (seeds * images)) * stdtrit(df, (1 + LEVEL) / 2))


@dataclass
class Coverage:
    """One method's hits and widths in one setting."""

    hits: float
    width: float


def covering(differences: Array, effect: float, generator: np.random.Generator) -> dict[str, Coverage]:
    """Coverage and mean width of each method over studies [studies, S, N]."""
    squares, found = mean_squares(differences), estimate(differences, LEVEL)
    over_seeds = np.sqrt(squares.seed / differences[0].size) * stdtrit(differences.shape[1] - 1, (1 + LEVEL) / 2)
    low, high = nested_bootstrap(differences, generator)
    intervals = {
        "ours": found.half_width,
        "Satterthwaite": satterthwaite(squares, *differences.shape[1:]),
        "t over seeds": over_seeds,
    }
    results = {
        name: Coverage(float((np.abs(found.mean - effect) <= half).mean()), float(2 * half.mean()))
        for name, half in intervals.items()
    }
    hits = (low <= effect) & (effect <= high)
    return {**results, "nested bootstrap": Coverage(float(hits.mean()), float((high - low).mean()))}


def oracle_width(means: Array) -> float:
    """Width of the interval of somebody who knows the variance of the mean."""
    return float(2 * ndtri((1 + LEVEL) / 2) * means.std())


Setting = tuple[str, int, int, Callable[[np.random.Generator, tuple[int, int, int]], Array], float]


def coverage_settings() -> Iterator[Setting]:
    """(name, seeds, images, what draws differences, true effect)."""
    for seeds in SEEDS:
        for name, shares in GAUSSIAN.items():
            yield name, seeds, 100, partial(gaussian, shares, 0.0), 0.0
        yield "mixed, effect", seeds, 100, partial(gaussian, GAUSSIAN["mixed"], 2.0), 2.0
        for name, latent in BINARY.items():
            yield name, seeds, 200, partial(binary, latent), latent.true_effect()


def measure_coverage(setting: Setting, studies: int, generator: np.random.Generator) -> dict[str, Coverage]:
    """Coverage of each method in a setting; widths in units of the oracle's."""
    _, seeds, images, draw, effect = setting
    differences = draw(generator, (studies, seeds, images))
    oracle = oracle_width(differences.mean(axis=(1, 2)))
    return {
        name: Coverage(found.hits, found.width / oracle)
        for name, found in covering(differences, effect, generator).items()
    }


def corpus_statistics(right: Array, label: NDArray[np.intp], confidence: Array) -> ImageStatistics:
    """Images of three classes, each with one sentence of 8 words of which a mistake changes one."""
    images = len(right)
    predicted = np.where(right > 0, label, (label + 1) % 3).astype(int)
    confusion = np.zeros((images, 3, 3))
    confusion[np.arange(images), label, predicted] = 1
    calibration = np.zeros((images, 3, 15))
    bins = np.clip(np.ceil(confidence * 15) - 1, 0, 14).astype(int)
    calibration[np.arange(images), :, bins] = np.stack([np.ones(images), confidence, right], axis=1)
    found = np.where(right[:, None] > 0, (8, 7, 6, 5), (7, 5, 4, 3))
    counts = np.concatenate([np.full((images, 2), 8), found, np.broadcast_to((8, 7, 6, 5), (images, 4))], axis=1)
    blocks = {"confusion": confusion, "calibration": calibration, "bleu": counts.astype(np.float64)}
    return ImageStatistics({name: block.reshape(images, -1) for name, block in blocks.items()})


def corpus_figures(sums: Sums) -> dict[str, Array]:
    """The figures of a whole split that are simulated."""
    found = classification_figures(sums)
    return {
        "macro F1": found["classification_f1"],
        "calibration error": found["classification_ece"],
        "BLEU-4": bleu(sums["bleu"], 4),
    }


def corpus_pair(
    generator: np.random.Generator, seeds: int, images: int, latent: Latent
) -> tuple[list[ImageStatistics], list[ImageStatistics]]:
    """Baseline and variation of one study, a list over seeds each."""
    label = generator.choice(3, images, p=(0.2, 0.3, 0.5)).astype(np.intp)
    sides = []
    for right in binary_pair(latent, generator, (1, seeds, images)):
        confidence = np.clip(0.75 + 0.2 * generator.random((seeds, images)) * (0.5 + right[0]), 0, 1)
        sides.append([corpus_statistics(right[0][seed], label, confidence[seed]) for seed in range(seeds)])
    return sides[0], sides[1]


def measure_corpus(
    seeds: int, images: int, studies: int, generator: np.random.Generator, latent: Latent
) -> dict[str, Coverage]:
    """Coverage of the jackknife's intervals; the true effect is the mean over the simulated studies."""
    differences: dict[str, list[Array]] = {}
    for _ in range(studies):
        before, after = (
            [image_contributions(run, corpus_figures) for run in side]
            for side in corpus_pair(generator, seeds, images, latent)
        )
        for name in before[0]:
            pairs = zip(before, after, strict=True)
            differences.setdefault(name, []).append(np.stack([new[name] - old[name] for old, new in pairs]))
    results = {}
    for name, matrices in differences.items():
        found = estimate(np.stack(matrices), LEVEL)
        hits = np.abs(found.mean - found.mean.mean()) <= found.half_width
        results[name] = Coverage(float(hits.mean()), float(2 * found.half_width.mean()) / oracle_width(found.mean))
    return results


def main() -> None:
    """Simulate and print; the exit status says whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies a setting")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation")
    options = parser.parse_args()
    console, generator = Console(width=max(Console().width, 120)), np.random.default_rng(options.seed)
    began = time.perf_counter()
    passed = [
        print_coverage(console, options.studies, generator),
        print_corpus(console, max(options.studies // 5, 2), generator),
        print_studies(console, options.studies, generator),
    ]
    console.print(f"{'all as wanted' if all(passed) else 'NOT as wanted'}, {time.perf_counter() - began:.0f} s")
    raise SystemExit(not all(passed))


def print_coverage(console: Console, studies: int, generator: np.random.Generator) -> bool:
    """Print the table of intervals; whether ours covers everywhere."""
    caption = "coverage in %, then mean width in widths of the interval that knows the variance"
    table = Table(title=f"95 % intervals, {studies} studies a setting", caption=caption)
    for column in ("setting", "seeds", "images", *METHODS):
        table.add_column(column, justify="left" if column == "setting" else "right", no_wrap=True)
    passed = True
    for setting in coverage_settings():
        found = measure_coverage(setting, studies, generator)
        passed &= found["ours"].hits >= WANTED
        table.add_row(*map(str, setting[:3]), *(_cell(found[method]) for method in METHODS))
    console.print(table)
    return passed


def print_corpus(console: Console, studies: int, generator: np.random.Generator) -> bool:
    """Print the table of figures of a whole split; whether all cover within two Monte-Carlo standard errors."""
    table = Table(title=f"Figures of a whole split by the jackknife, 200 images, {studies} studies a setting")
    names = ("macro F1", "calibration error", "BLEU-4")
    for column in ("setting", "seeds", *names):
        table.add_column(column, justify="left" if column == "setting" else "right", no_wrap=True)
    bound, passed = WANTED - 2 * (WANTED * (1 - WANTED) / studies) ** 0.5, True
    for seeds in SEEDS:
        for setting in ("0/1, mixed, effect", "0/1, images, effect"):
            found = measure_corpus(seeds, 200, studies, generator, BINARY[setting])
            passed &= all(coverage.hits >= bound for coverage in found.values())
            table.add_row(setting, str(seeds), *(_cell(found[name], bound) for name in names))
    console.print(table)
    return passed


def print_studies(console: Console, studies: int, generator: np.random.Generator) -> bool:
    """Print the table of whole studies; whether ours covers and errs at most 5 % plus two standard errors.

    Where seeds are not normal it need not: these rows are shown to be known.
    """
    table = Table(
        title=f"Holm's correction over {VARIATIONS} variations x {METRICS} metrics, {studies} studies a setting",
        caption="in %: how often the intervals of the variation that is covered least hold its effect; how often "
        "anything is found that is not there; how often the effects of the first four variations are found",
    )
    columns = ("seeds", "covered", "false", "equal weights", "moderated", "found", "equal weights")
    for column in ("setting", *columns):
        table.add_column(column, justify="left" if column == "setting" else "right")
    bound, passed = 0.05 + 2 * (0.05 * 0.95 / studies) ** 0.5, True
    for name, kind in {**STUDIES, **BEYOND}.items():
        truth = kind.true_effects()
        for seeds in STUDY_SEEDS:
            found = measure_studies(kind, seeds, STUDY_IMAGES, studies, generator)
            ours, equal, moderated = (found[method] for method in ("ours", "equal weights", "moderated"))
            right = ours.coverage.min() >= WANTED and ours.error <= bound
            passed &= right or name in BEYOND
            table.add_row(
                name,
                str(seeds),
                f"{100 * ours.coverage.min():.1f}",
                f"{100 * ours.error:.1f}",
                f"{100 * equal.error:.1f}",
                f"{100 * moderated.coverage.min():.1f} {100 * moderated.error:4.1f}",
                _power(truth, ours),
                _power(truth, equal),
                style="" if right else "red",
            )
    console.print(table)
    return passed


def _power(truth: Array, found: Outcome) -> str:
    """How often the largest effect of each of the first four variations is found."""
    largest = np.abs(truth[:4]).argmax(axis=1)
    return " ".join(f"{100 * found.power[row, m]:.0f}" for row, m in enumerate(largest) if truth[row, m])


def _cell(found: Coverage, bound: float = WANTED) -> Text:
    return Text(f"{100 * found.hits:.1f}  {found.width:.2f}", style="" if found.hits >= bound else "red")


if __name__ == "__main__":
    main()
