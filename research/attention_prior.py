"""Does an attention prior on price tokens help? The embedded body with and without it, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.errors import invalid
from malles_env.files import read_json_object, write_json
from malles_env.preference.prompted.trainer import PromptConfig
from malles_env.workflows.align_prompted import PromptJob, Splits, draw_splits, judge_prompted, run_prompted

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions
    from malles_env.evaluation.metrics import Estimate

METRICS = ("hit", "nll", "nll_all", "quantity_nll", "quantity_error", "elasticity", "violations")


@dataclass(frozen=True)
class StudyRow:
    """One trained model on the test occasions.

    Attributes:
        prior: Strength of the attention prior, in nats.
        seed: Seed of weights, data order and shelf orders.
        validation: Nats on the validation occasions, outside option included.
        scores: Estimates by name, see `METRICS`; standard errors clustered by household.
    """

    prior: float
    seed: int
    validation: float
    scores: dict[str, Estimate]


def run(
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 150,
    occasions: int = 10_000,
    *,
    priors: Sequence[float] = (0.0, 2.0),
    out: str | Path = "runs/attention-prior",
    data: Occasions | Splits | None = None,
    show: bool = True,
    **settings: Any,
) -> list[StudyRow]:
    """Train one model per prior and seed on the same occasions, and judge each on the same test occasions.

    A second call goes on where the first one stopped: trained models and scores are kept in `out`.

    Args:
        seeds: Seeds.
        steps: Optimizer steps of each run.
        occasions: Training occasions.
        priors: Strengths of the prior, in nats.
        out: Folder of the runs.
        data: Occasions or ready splits; by default the Complete Journey's.
        show: Show progress bars.
        settings: Further fields of `PromptConfig`.
    """
    if not seeds or not priors:
        raise invalid("seeds, priors", (tuple(seeds), tuple(priors)), "at least one of each")
    splits = data if isinstance(data, Splits) else _splits(data, occasions)
    rows = []
    for prior in priors:
        for seed in seeds:
            config = PromptConfig(
                **{
                    "steps": steps,
                    "seed": seed,
                    "batch_size": 32,
                    "learning_rate": 5e-3,
                    "warmup": 10,
                    "validate_every": 50,
                    **settings,
                }
            )
            job = PromptJob("embedded", Path(out) / f"prior-{prior:g}-seed-{seed}", prior, config=config)
            rows.append(_row(job, splits, show))
    return rows


def table(rows: Sequence[StudyRow]) -> str:
    """Return a Markdown table: each run, then the mean over seeds with its standard error."""
    head = ["prior", "seed", "validation nats", *METRICS]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [str(row.scores[name]) for name in METRICS]
        lines.append(f"| {row.prior:g} | {row.seed} | {row.validation:.4f} | " + " | ".join(cells) + " |")
    for prior in dict.fromkeys(row.prior for row in rows):
        group = [row for row in rows if row.prior == prior]
        columns = [[row.validation for row in group], *([row.scores[name].mean for row in group] for name in METRICS)]
        cells = [_over_seeds(column) for column in columns]
        lines.append(f"| {prior:g} | mean of {len(group)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows: Sequence[StudyRow], path: str | Path) -> Path:
    """Draw nats, elasticity and violations of each run by strength of the prior; return the picture's path."""
    from matplotlib.figure import Figure

    names = {
        "nll": ("purchases predicted", "nats given a purchase\n(lower is better)"),
        "elasticity": ("own-price elasticity", "elasticity (real ones are below 0)"),
        "violations": ("law of demand", "share of price rises that raise demand\n(lower is better)"),
    }
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    priors, seeds = (list(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("prior", "seed"))
    panels = figure.subplots(1, len(names))
    for axes, (name, (title, unit)) in zip(panels, names.items(), strict=True):
        for k, seed in enumerate(seeds):
            found = [(priors.index(row.prior), row.scores[name]) for row in rows if row.seed == seed]
            spread = [at + 0.08 * (k - (len(seeds) - 1) / 2) for at, _ in found]
            means, errors = [v.mean for _, v in found], [v.se for _, v in found]
            axes.errorbar(spread, means, yerr=errors, fmt="o", capsize=3, label=f"training seed {seed}")
        axes.set_xticks(range(len(priors)), [f"{prior:g}" for prior in priors])
        axes.set_xlabel("attention prior (nats)")
        axes.set_ylabel(unit, fontsize=8)
        axes.set_title(title, fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(seeds), frameon=False)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=120)
    return target


def _splits(data: Occasions | None, limit: int) -> Splits:
    if data is None:
        from malles_env.data.sources.prepare import prepare_complete_journey

        data = prepare_complete_journey()
    return draw_splits(data, limit)


def _row(job: PromptJob, splits: Splits, show: bool) -> StudyRow:
    from malles_env.evaluation.metrics import Estimate

    kept = job.out / "scores.json"
    if not kept.is_file():
        model, progress = run_prompted(job, splits, show=show)
        assert splits.test is not None
        scores = judge_prompted(model, splits.test)
        plain = {name: [value.mean, value.se] for name, value in scores.items()}
        write_json(
            kept, {"validation": progress.best, "scores": plain, "settings": job.config.shaping()}, sort_keys=True
        )
    found = read_json_object(kept)
    if found["settings"] != job.config.shaping():
        raise invalid("out", str(job.out), "a folder whose runs had the same settings")
    return StudyRow(
        job.prior,
        job.config.seed,
        float(found["validation"]),
        {name: Estimate(*pair) for name, pair in found["scores"].items()},
    )


def _over_seeds(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.4f}"
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.4f}"
