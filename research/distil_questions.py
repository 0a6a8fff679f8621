"""How many questions a distillation needs: actively chosen ones against drawn ones, on consumers whose truth is known.

`python -m research.distil_questions --out docs/images/distil-questions.png --json runs/distil-study.json`
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from malles_env.consumers.distil import DistilSettings, distil, fit, fresh_states
from malles_env.consumers.distil.fidelity import AIM, total_variation
from malles_env.consumers.logit import LogitConsumers
from malles_env.errors import invalid
from malles_env.evaluation.audit import Subject
from malles_env.files import replacing, write_json
from malles_env.market import Consumers, Offer, Response, Tastes
from malles_env.market.demand.choice import respond
from malles_env.scenarios.loader import load_scenario
from malles_env.type_aliases import FloatArray
from malles_env.workflows.audit import audit_subject

COUNTS = (8, 16, 24, 32, 48)
STATES = 100


@dataclass(frozen=True)
class Polled(LogitConsumers):
    """Each answer is the split of some draws of households; the same offer gets the same answer.

    Attributes:
        tastes: What the households are drawn from.
        households: Draws per segment and question.
    """

    households: int = 20

    def respond(self, offer: Offer) -> Response:
        """Answer an offer."""
        exact = respond(self.tastes, offer)
        seed = hashlib.sha256(offer.prices.tobytes() + offer.mean_field.tobytes()).digest()[:8]
        rng = np.random.default_rng(int.from_bytes(seed, "big"))
        chance = exact.probability / exact.probability.sum(axis=-1, keepdims=True)
        return replace(exact, probability=rng.multinomial(self.households, chance) / self.households)


@dataclass(frozen=True)
class TwoClasses(LogitConsumers):
    """Each segment hides a second class, half of it, with other tastes: no logit describes the mixture.

    Attributes:
        tastes: Of the first class.
        other: Of the second.
    """

    other: Tastes

    def respond(self, offer: Offer) -> Response:
        """Answer an offer."""
        first, second = respond(self.tastes, offer), respond(self.other, offer)
        return replace(first, probability=0.5 * (first.probability + second.probability))


def cases(scenario: str, segments: int) -> Iterator[tuple[str, Subject, Consumers]]:
    """Yield name, whom to ask, and whose answers are the truth, on a scenario's largest segments."""
    loaded = load_scenario(scenario)
    largest = tuple(sorted(loaded.segments, key=lambda each: -each.weight)[:segments])
    subject = audit_subject(loaded.model_copy(update={"segments": largest}))
    exact = getattr(subject.consumers, "consumers", subject.consumers)
    if not isinstance(exact, LogitConsumers):
        raise invalid("scenario", scenario, "a scenario whose consumers have tastes")
    tastes = exact.tastes
    shift = np.random.default_rng(5).normal(0.0, 1.5, tastes.alpha.shape)
    two = TwoClasses(tastes, replace(tastes, alpha=tastes.alpha + shift, beta=3.0 * tastes.beta))
    yield "answers of 20 households each", subject.answered_by(Polled(tastes)), exact
    yield "two hidden classes per segment", subject.answered_by(two), two


def run(scenario: str = "soft-drinks", segments: int = 4, seeds: int = 3) -> list[dict[str, Any]]:
    """Return the median total variation to the truth on fresh states by case, choice, seed and questions."""
    rows = []
    for name, subject, truth in cases(scenario, segments):
        fresh = fresh_states(subject, STATES, 4711)
        known = truth.respond(fresh).probability
        for choice in ("random", "active"):
            for seed in range(seeds):
                settings = DistilSettings(
                    questions=max(COUNTS), fresh=0, seed=seed, choice=choice, price_transform="log"  # type: ignore[arg-type]
                )  # fmt: skip
                found = distil(subject, settings).experiment
                for count in COUNTS:
                    tastes = fit(found.take(np.arange(count)), "log").tastes(subject.regular_price)
                    far = total_variation(respond(tastes, fresh).probability, known)
                    row = {"case": name, "choice": choice, "seed": seed, "questions": count}
                    rows.append({**row, "median": float(np.median(far)), "p95": float(np.quantile(far, 0.95))})
    return rows


def summary(rows: list[dict[str, Any]], case: str, choice: str, value: str) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard error over seeds by number of questions."""
    picked = [row for row in rows if row["case"] == case and row["choice"] == choice]
    values = np.array([[row[value] for row in picked if row["questions"] == count] for count in COUNTS])
    return values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return a table: mean ± standard error over seeds."""
    lines = ["| consumers | questions | " + " | ".join(map(str, COUNTS)) + " |", "|---" * (len(COUNTS) + 2) + "|"]
    for case in dict.fromkeys(row["case"] for row in rows):
        for choice in ("random", "active"):
            for value in ("median", "p95"):
                mean, error = summary(rows, case, choice, value)
                cells = [f"{m:.4f} ± {e:.4f}" for m, e in zip(mean, error, strict=True)]
                lines.append(f"| {case} | {choice}, {value} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], path: Path) -> Path:
    """Draw a panel per case as PNG and return the path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["case"] for row in rows))
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, case in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        for choice, colour in (("random", "#7a7a85"), ("active", "#0072b2")):
            for value, style in (("median", "-"), ("p95", "--")):
                mean, error = summary(rows, case, choice, value)
                label = f"{choice}, {'median' if value == 'median' else '95th percentile'}"
                axes.errorbar(COUNTS, mean, error, color=colour, linestyle=style, marker="o", markersize=3, label=label)
        axes.axhline(AIM, color="#b3261e", linewidth=0.8)
        axes.annotate(f"aim {AIM:g}", (COUNTS[-1], AIM), ha="right", va="bottom", fontsize=8, color="#b3261e")
        axes.set(title=case, xlabel="questions", xticks=COUNTS, ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("total variation to the truth, fresh states")
    figure.axes[0].legend(frameon=False, fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    return path


def main() -> None:
    """Run the study, print the table, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", default="soft-drinks")
    parser.add_argument("--segments", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/distil-questions.png"))
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    rows = run(words.scenario, words.segments, words.seeds)
    if words.json:
        write_json(words.json, {"rows": rows})
    print(markdown(rows))
    print(f"plot: {draw(rows, words.out)}")


if __name__ == "__main__":
    main()
