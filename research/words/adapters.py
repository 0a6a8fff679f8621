"""`python -m research.words.adapters`: adapters trained inside the encoder of names, end to end, against the map.

Four kinds of word model are fitted on the same purchases of the gift wholesaler's log, each also with names shuffled
within categories: the encoder as it was (`frozen`), a linear map on its states (`map`), an adapter inside it that is
trained on the choices themselves (`adapted`), and both, as in the model that ships (`both`). How long an adapter trains
is chosen on categories that were left out of its training, in later weeks. Nothing is learned of products outside the
categories trained on, not even of those in none, which `malles align` does learn of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from malles_env.cli.places import file_option
from malles_env.cli.progress import progress_words
from malles_env.errors import InvalidInput
from malles_env.evaluation.metrics import clustered, purchase_values
from malles_env.evaluation.transfer.study import WordStudy
from malles_env.evaluation.transfer.word_model.adapter_fit import AdapterFit
from malles_env.evaluation.transfer.word_model.adapter_training import AdapterSettings
from malles_env.evaluation.transfer.word_model.scoring import WordScorer, log_readings, log_words
from malles_env.evaluation.transfer.word_model.word_fit import WordSettings, fit_words
from malles_env.files import read_json_object, write_json
from malles_env.preference.data.renamed import Names, renamed
from malles_env.preference.encoder.backbones import load_backbone
from malles_env.type_aliases import OnMessage
from malles_env.workflows.align_names import ADAPTER_STEPS
from research.command import run

SPLITS = ("unseen_cold", "time_cold")
CONTROLS: tuple[Names, ...] = ("true", "shuffled")
KINDS = {"frozen": "adapted", "map": "both"}
"""Without an adapter, and with one."""
PAIRS = (
    *((kind, f"{kind}_shuffled") for kind in ("frozen", "map", "adapted", "both")),
    ("map", "frozen"),
    ("adapted", "frozen"),
    ("adapted", "map"),
    ("both", "frozen"),
    ("both", "map"),
)


@dataclass(frozen=True)
class Kinds:
    """Fits the four kinds of model.

    Attributes:
        study: The log.
        adapter: Settings of a training.
        words: Of the map.
        steps: Steps of a training, at most.
        folder: Where trainings are kept.
        backbone: Name of the encoder.
        notify: Called with what is being done, in words.
    """

    study: WordStudy
    adapter: AdapterSettings
    words: WordSettings
    steps: int
    folder: Path
    backbone: str = "minilm"
    notify: OnMessage = lambda _: None

    def of(self, names: Names) -> tuple[dict[str, WordScorer], dict[str, Any]]:
        """Return the models by kind, and what validation showed.

        Args:
            names: What the products are called.
        """
        learn, encoder = self.study.learning(), load_backbone(self.backbone, pooling="layers")
        readings = log_readings(encoder, learn.products, names)
        log = log_words(readings, encoder.parts, learn.products, self.study.sales)
        seen, prefixes = np.unique(learn.prefix), learn.products.prefixes
        others = (text for at, text in enumerate(prefixes) if at not in seen)
        barred = frozenset(text.removeprefix("market: ").removesuffix(".") for text in others)
        texts, inside = renamed(learn.products, names).texts, np.isin(log.market, seen)
        found: dict[str, WordScorer] = {}
        report: dict[str, Any] = {}
        for plain, adapted in KINDS.items():
            settings = self.words if plain == "map" else replace(self.words, width=0)
            fitted = fit_words(learn, log, barred, settings)
            fit = AdapterFit(
                learn, log, texts, inside, settings, self.adapter, self.steps, self.backbone, self.folder / names,
                lambda words, who=names: self.notify(f"{who} names, {words}"),  # type: ignore[misc]
            )  # fmt: skip
            own = fit.fit(fitted)
            found[plain] = WordScorer(fitted, log, seen)
            found[adapted] = WordScorer(own.fitted, own.words, seen)
            report[adapted] = own.report
        return found, report


def judge(study: WordStudy, models: dict[Names, dict[str, WordScorer]], limit: int | None) -> dict[str, Any]:
    """Return nats of all models on both splits, and paired differences, with errors clustered by customer.

    Args:
        study: The log.
        models: By names and kind.
        limit: Test purchases of a split, at most; None means the protocol's number.
    """
    results: dict[str, Any] = {}
    for split in SPLITS:
        test = study.study.judging(split, limit=limit).data
        nats = {
            kind if names == "true" else f"{kind}_{names}": purchase_values(scorer.predict(test), test)["nll"]
            for names, kinds in models.items()
            for kind, scorer in kinds.items()
        }
        every = {name: clustered(values, test.household) for name, values in nats.items()}
        pairs = {f"{one} - {other}": clustered(nats[one] - nats[other], test.household) for one, other in PAIRS}
        results[split] = {
            "purchases": len(test),
            "nats": {name: {"mean": found.mean, "se": found.se} for name, found in every.items()},
            "paired": {name: {"mean": found.mean, "se": found.se} for name, found in pairs.items()},
        }
    return results


def table(report: dict[str, Any]) -> str:
    """Return a finished report as Markdown: validation, then nats and differences on both splits."""
    lines = [
        "| left-out categories, weeks before the test | steps | without adapter | with it |",
        "|---|---:|---:|---:|",
    ]
    for names, kinds in report["validation"].items():
        for kind, found in kinds.items():
            steps, nats = found["steps of the adapter"], found["nats on left-out categories"]
            without, by_steps = nats["without adapter"], nats["by steps"]
            lines.append(f"| {kind}, {names} names | {steps} | {without:.4f} | {by_steps[str(steps)]:.4f} |")
    for what, sign in (("nats", ""), ("paired", "+")):
        first = "row" if what == "nats" else "difference"
        lines += ["", f"| {first} | " + " | ".join(SPLITS) + " |", "|---|---:|---:|"]
        for name in report["splits"][SPLITS[0]][what]:
            parts = (report["splits"][split][what][name] for split in SPLITS)
            lines.append(f"| {name} | " + " | ".join(f"{p['mean']:{sign}.4f} ± {p['se']:.4f}" for p in parts) + " |")
    return "\n".join(lines)


def main(
    json_file: Annotated[Path, file_option("File of the report; a finished one is printed again.", "--json")],
    steps: Annotated[int, typer.Option(min=10, help="Steps of a training, at most; a multiple of 10.")] = ADAPTER_STEPS,
    limit: Annotated[int | None, typer.Option(help="Test purchases of a split, at most.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Train what is not yet trained, judge, write the report, and print it; trainings are kept beside it."""
    torch.set_num_threads(threads)
    settings = AdapterSettings()
    if steps % settings.every:
        raise InvalidInput(f"steps: got {steps}; allowed: multiples of {settings.every}")
    report: dict[str, Any] = read_json_object(json_file) if json_file.is_file() else {}
    if "splits" not in report:
        with progress_words() as notify:
            study, folder = WordStudy.online_retail(), json_file.with_suffix("")
            kinds = Kinds(study, settings, WordSettings(), steps, folder, notify=notify)
            found = {names: kinds.of(names) for names in CONTROLS}
            notify("judging")
            splits = judge(study, {names: models for names, (models, _) in found.items()}, limit)
        report = {"validation": {names: shown for names, (_, shown) in found.items()}, "splits": splits}
        write_json(json_file, report)
    typer.echo(table(report))


if __name__ == "__main__":
    run(main)
