"""`python -m research.words.curves`: transfer to unseen categories against training categories and against model size.

Every point is a word model fitted on some categories of the gift wholesaler's log, judged on the same purchases of
categories that none was fitted on, cold; beside it the same with names shuffled, and with the encoder frozen. Nothing
is learned of products outside these categories, not even of those in none, which `malles align` does learn of.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from malles_env.cli.places import file_option
from malles_env.cli.progress import progress_words
from malles_env.errors import invalid
from malles_env.evaluation.metrics import clustered, purchase_values
from malles_env.evaluation.transfer.study import WordStudy
from malles_env.evaluation.transfer.word_model.scoring import WordScorer, log_readings, log_words
from malles_env.evaluation.transfer.word_model.word_fit import LogWords, WordSettings, fit_words
from malles_env.files import read_json_object, write_json
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.renamed import Names
from malles_env.preference.encoder.backbones import load_backbone
from malles_env.type_aliases import FloatArray, IntArray
from research.command import run

COUNTS = (1, 5, 15, 30)
SPLIT = "unseen_cold"


@dataclass
class Curves:
    """Fits and judges word models of one log.

    Attributes:
        study: The log.
        settings: Of every map.
        limit: Test purchases, at most; None means the protocol's number.
    """

    study: WordStudy
    settings: WordSettings
    limit: int | None = None

    def __post_init__(self) -> None:
        """Draw the occasions."""
        self.learn = self.study.learning()
        self.test = self.study.study.judging(SPLIT, limit=self.limit).data
        self._words: dict[tuple[str, Names], LogWords] = {}
        self._parameters: dict[str, int] = {}

    def categories(self, count: int, order: int) -> IntArray:
        """Return the first `count` of the categories trained on, in an order by a hash of their names.

        Raises:
            InvalidInput: More than there are, or none.
        """
        there = np.unique(self.learn.prefix)
        if not 1 <= count <= len(there):
            raise invalid("count", count, f"1 to {len(there)} categories")
        names = [self.learn.products.prefixes[at] for at in there]
        by_hash = sorted(range(len(there)), key=lambda at: hashlib.sha256(f"{order}{names[at]}".encode()).hexdigest())
        return np.sort(there[by_hash[:count]])

    def point(self, backbone: str, count: int, order: int = 0) -> dict[str, Any]:
        """Return what a point of a curve shows: nats, and paired differences, with errors clustered by customer."""
        chosen = self.categories(count, order)
        rows = np.flatnonzero(np.isin(self.learn.prefix, chosen))
        train = self.learn.take(rows)
        prefixes = self.learn.products.prefixes
        barred = frozenset(
            text.removeprefix("market: ").removesuffix(".") for at, text in enumerate(prefixes) if at not in chosen
        )
        nats = {
            f"{kind}{'_shuffled' if names == 'shuffled' else ''}": self._nats(backbone, names, train, kind, barred)
            for kind in ("trained", "frozen")
            for names in ("true", "shuffled")
        }
        who = self.test.household

        def estimate(values: FloatArray) -> dict[str, float]:
            found = clustered(values, who)
            return {"mean": found.mean, "se": found.se}

        pairs = (("trained", "trained_shuffled"), ("frozen", "frozen_shuffled"), ("trained", "frozen"))
        return {
            "backbone": backbone,
            "parameters": self._parameters[backbone],
            "categories": count,
            "order": order,
            "purchases": {"trained on": len(rows), "judged": len(self.test)},
            "nats": {name: estimate(values) for name, values in nats.items()},
            "paired": {f"{one} - {other}": estimate(nats[one] - nats[other]) for one, other in pairs},
        }

    def _nats(self, backbone: str, names: Names, train: TasteData, kind: str, barred: frozenset[str]) -> FloatArray:
        words = self._words_of(backbone, names)
        width = self.settings.width if kind == "trained" else 0
        settings = WordSettings(width, self.settings.penalties, self.settings.folds, self.settings.later)
        fitted = fit_words(train, words, barred, settings)
        scorer = WordScorer(fitted, words, np.unique(train.prefix))
        return purchase_values(scorer.predict(self.test), self.test)["nll"]

    def _words_of(self, backbone: str, names: Names) -> LogWords:
        if (backbone, names) not in self._words:
            self._words = {key: kept for key, kept in self._words.items() if key[0] == backbone}
            precision = torch.bfloat16 if backbone.endswith(".gguf") else torch.float32
            encoder = load_backbone(backbone, pooling="layers", dtype=precision)
            self._parameters[backbone] = sum(weight.numel() for weight in encoder.model.parameters())
            readings = log_readings(encoder, self.learn.products, names)
            self._words[backbone, names] = log_words(readings, encoder.parts, self.learn.products, self.study.sales)
        return self._words[backbone, names]


def draw(points: list[dict[str, Any]], path: Path, base: str) -> None:
    """Draw nats below the model on shuffled names, against training categories and against parameters.

    Args:
        points: See `Curves.point`.
        path: Picture to write.
        base: Backbone of the first panel.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    by_count = [point for point in points if point["backbone"] == base]
    most = max(point["categories"] for point in points)
    by_size = [point for point in points if point["categories"] == most]
    for axis, chosen, x in ((axes[0], by_count, "categories"), (axes[1], by_size, "parameters")):
        for kind, mark in (("trained", "o"), ("frozen", "s")):
            where = [point[x] for point in chosen]
            found = [point["paired"][f"{kind} - {kind}_shuffled"] for point in chosen]
            gained, error = [-part["mean"] for part in found], [part["se"] for part in found]
            axis.errorbar(where, gained, yerr=error, fmt=mark, capsize=3, label=kind)
        axis.set_xscale("log")
        axis.axhline(0.0, color="grey", linewidth=0.8)
        axis.grid(alpha=0.3)
    axes[0].set(
        xlabel="categories trained on", ylabel="nats gained over shuffled names", title="Unseen categories, cold"
    )
    counts = {point["categories"]: str(point["categories"]) for point in by_count}
    names = {point["parameters"]: "-".join(Path(point["backbone"]).stem.split("-")[:2]) for point in by_size}
    sizes = {  # every second one lower: neighbours of nearly one size would be written over each other
        size: "\n\n" * (at % 2) + f"{names[size]}\n{size / 1e6:.0f} M" for at, size in enumerate(sorted(names))
    }
    for axis, labels in zip(axes, (counts, sizes), strict=True):
        axis.set_xticks(list(labels), labels=list(labels.values()), minor=False)
        axis.tick_params(which="minor", bottom=False, labelbottom=False)
        axis.margins(x=0.15)
    axes[1].set(xlabel="parameters of the encoder", title=f"Encoders, {most} categories")
    axes[0].legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def table(points: list[dict[str, Any]]) -> str:
    """Return the points as a Markdown table."""
    pairs = ("trained - trained_shuffled", "frozen - frozen_shuffled", "trained - frozen")
    lines = ["| encoder | parameters | categories | order | " + " | ".join(pairs) + " |", "|---" * 7 + "|"]
    for point in points:
        cells = [f"{point['paired'][pair]['mean']:+.4f} ± {point['paired'][pair]['se']:.4f}" for pair in pairs]
        size = f"{point['parameters'] / 1e6:.0f} M"
        name = Path(point["backbone"]).stem
        lines.append("| " + " | ".join([name, size, str(point["categories"]), str(point["order"]), *cells]) + " |")
    return "\n".join(lines)


def main(
    json_file: Annotated[Path, file_option("File of the points; a run goes on from those it holds.", "--json")],
    backbone: Annotated[
        list[str] | None, typer.Option(help="Encoders of the second curve: minilm, smollm2, a folder, a GGUF file.")
    ] = None,
    counts: Annotated[str, typer.Option(help="Categories of the first curve, which minilm reads.")] = "1,5,15,30",
    orders: Annotated[int, typer.Option(min=1, help="Orders of the categories.")] = 1,
    limit: Annotated[int | None, typer.Option(help="Test purchases, at most.")] = None,
    plot: Annotated[Path | None, file_option("Picture of both curves.", "--plot")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Fit and judge every point, write them as they are finished, and print a table."""
    torch.set_num_threads(threads)
    whole = sorted({int(count) for count in counts.split(",")})
    wanted = [("minilm", count, order) for count in whole for order in range(orders if count < whole[-1] else 1)]
    wanted += [(name, whole[-1], 0) for name in backbone or () if name != "minilm"]
    points: list[dict[str, Any]] = read_json_object(json_file)["points"] if json_file.is_file() else []
    done = {(point["backbone"], point["categories"], point["order"]) for point in points}
    with progress_words() as notify:
        curves: Curves | None = None
        for key in wanted:
            if key in done:
                continue
            curves = curves or Curves(WordStudy.online_retail(), WordSettings(), limit)
            notify("{}, {} categories, order {}".format(*key))
            points.append(curves.point(*key))
            write_json(json_file, {"points": points})
    typer.echo(table(points))
    if plot is not None:
        draw(points, plot, "minilm")


if __name__ == "__main__":
    run(main)
