"""`python -m research.words.adapters`: adapters trained inside the encoder of names, end to end, against the map.

Four kinds of word model are fitted on the same purchases of the gift wholesaler's log, each also with names shuffled
within categories: the encoder as it was (`frozen`), a linear map on its states (`map`, as in the model that ships), an
adapter inside it that is trained on the choices themselves (`adapted`), and map and adapter together (`both`). How long
the adapter trains is chosen on categories that were left out of its training, in later weeks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from malles_env.cli.places import file_option
from malles_env.cli.progress import progress_words
from malles_env.errors import InvalidInput
from malles_env.evaluation.metrics import clustered, purchase_values
from malles_env.evaluation.transfer.study import WordStudy
from malles_env.evaluation.transfer.word_model.copurchase import taste_vectors, who_bought
from malles_env.evaluation.transfer.word_model.scoring import WordScorer, log_readings, log_words
from malles_env.evaluation.transfer.word_model.word_fit import (
    FittedWords,
    LogWords,
    Vectors,
    WordSettings,
    fit_logit,
    fit_words,
    left_out,
)
from malles_env.evaluation.transfer.word_model.word_map import WordMap, bought_vectors, name_vectors
from malles_env.files import read_json_object, write_json
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.renamed import Names, renamed
from malles_env.preference.encoder.adapters import with_adapter
from malles_env.preference.encoder.backbones import load_backbone
from malles_env.preference.heads.kinship import meanings
from research.command import run
from research.words.adapter_training import POOLED, AdapterSettings, AdapterTraining, without

SPLITS = ("unseen_cold", "time_cold")
CONTROLS: tuple[Names, ...] = ("true", "shuffled")
KINDS = ("frozen", "map", "adapted", "both")
PAIRS = (
    *((kind, f"{kind}_shuffled") for kind in KINDS),
    ("map", "frozen"),
    ("adapted", "frozen"),
    ("adapted", "map"),
    ("both", "frozen"),
    ("both", "map"),
)
FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Notify = Callable[[str], None]


@dataclass(frozen=True)
class AdaptedWords(LogWords):
    """A log's names as an adapted encoder reads them.

    Attributes:
        adapted: Centred readings of length 1 [P, width].
        mapped: Vectors of a linear map, whose likeness counts beside; None leaves it out.
    """

    adapted: FloatArray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    mapped: Vectors | None = None

    def features(self, data: TasteData, vectors: Vectors | None) -> FloatArray:
        """Return the columns of every option: those of the map, if any, and the adapted likeness [B, J, F].

        Args:
            data: The occasions.
            vectors: Not used: what is learned is part of these words.
        """
        found = super().features(data, (self.adapted, self.adapted, 1.0))
        if self.mapped is None:
            return found
        return np.concatenate([super().features(data, self.mapped), found[..., -POOLED:]], axis=2)


@dataclass
class Adapting:
    """Fits the four kinds of model on one log's names, true or shuffled.

    Attributes:
        study: The log.
        names: What the products are called.
        settings: Of the adapter.
        words: Of the linear map and of the folds.
        steps: Steps of training, at most.
        backbone: The encoder.
        folder: Where trainings are kept.
        notify: Called with what is being done, in words.
    """

    study: WordStudy
    names: Names
    settings: AdapterSettings
    words: WordSettings
    steps: int
    backbone: str
    folder: Path
    notify: Notify

    def __post_init__(self) -> None:
        """Read the names, and draw what is learned from."""
        self.learn = self.study.learning()
        encoder = load_backbone(self.backbone, pooling="layers")
        readings = log_readings(encoder, self.learn.products, self.names)
        self.log = log_words(readings, encoder.parts, self.learn.products, self.study.sales)
        self.seen = np.unique(self.learn.prefix)
        self.last = int(self.learn.period.max())
        self.cut = self.last - self.words.later
        self.late = self.learn.take(np.flatnonzero(self.learn.period > self.cut))

    def adapter(self, part: str, out: IntArray, until: int, steps: int) -> dict[int, FloatArray]:
        """Train an adapter; return centred readings of length 1 by step [P, width].

        Args:
            part: Name of its file.
            out: Categories that nothing is learned of, besides those that are not trained on at all.
            until: Last week of what is learned from.
            steps: Steps.
        """
        inside = np.setdiff1d(self.seen, out)
        rows = np.flatnonzero((self.learn.period <= until) & np.isin(self.learn.prefix, inside))
        train = without(self.learn.take(rows), ~np.isin(self.log.market, inside))
        settings = self.settings
        fresh = with_adapter(
            load_backbone(self.backbone), rank=settings.rank, layers=settings.layers, seed=settings.seed
        )
        texts = renamed(self.learn.products, self.names).texts
        file = self.folder / f"{self.names}-{part}.pt"
        training = AdapterTraining(fresh, texts, train, self.log, settings, file)
        kept = training.run(steps, lambda words: self.notify(f"{self.names} names, {part}, {words}"))
        market = torch.as_tensor(self.log.market)
        return {step: meanings(readings.float(), market).numpy() for step, readings in kept.items()}

    def map_vectors(self, out: IntArray, until: int, penalty: float) -> Vectors:
        """Return what a linear map says that is fitted up to a week on categories that are not left out."""
        allowed = np.isin(self.log.market, np.setdiff1d(self.seen, out))
        bought = who_bought(self.learn, until)
        rows, vectors = taste_vectors(bought, self.log.market, allowed, self.words.width)
        word_map = WordMap.fit(self.log.states, rows, vectors, penalty)
        option = name_vectors(word_map, self.log.states, self.log.market)
        return option, bought_vectors(option, rows, vectors), word_map.scale

    def scorers(self) -> tuple[dict[str, WordScorer], dict[str, Any]]:
        """Return the fitted models by kind, and what validation showed."""
        prefixes = self.learn.products.prefixes
        barred = frozenset(
            text.removeprefix("market: ").removesuffix(".") for at, text in enumerate(prefixes) if at not in self.seen
        )
        found: dict[str, WordScorer] = {}
        for kind, width in (("frozen", 0), ("map", self.words.width)):
            settings = replace(self.words, width=width, folds=WordSettings.folds)  # as the model that ships
            fitted = fit_words(self.learn, self.log, barred, settings)
            found[kind] = WordScorer(fitted, self.log, self.seen)
        penalty = found["map"].fitted.penalty
        best, unseen, report = self._validate(penalty)
        nothing = np.zeros(0, dtype=np.int64)
        early = self.adapter("early", nothing, self.cut, best)[best]
        final = self.adapter("final", nothing, self.last, best)[best]
        for kind in ("adapted", "both"):
            before, after = (
                self.map_vectors(nothing, until, penalty) if kind == "both" else None for until in (self.cut, self.last)
            )
            seen, _ = fit_logit(self._named(early, before).features(self.late, None), self.late)
            found[kind] = WordScorer(FittedWords(unseen[kind], seen), self._named(final, after), self.seen)
        return found, report

    def _validate(self, penalty: float) -> tuple[int, dict[str, FloatArray], dict[str, Any]]:
        """Return the number of steps that predicts left-out categories best, the weights there, and nats."""
        folds = left_out(self.late, self.words)
        rows = [np.flatnonzero(np.isin(self.late.prefix, out)) for out in folds]
        parts = [self.late.take(own) for own in rows]
        late = self.late.take(np.concatenate(rows))
        adapters = [self.adapter(f"fold{at}", out, self.cut, self.steps) for at, out in enumerate(folds)]

        def fit(words: Sequence[LogWords], vectors: Sequence[Vectors | None]) -> tuple[FloatArray, float]:
            columns = [own.features(part, at) for own, part, at in zip(words, parts, vectors, strict=True)]
            return fit_logit(np.concatenate(columns), late)

        plain = [self.log] * len(folds)
        none: list[Vectors | None] = [None] * len(folds)
        maps = [self.map_vectors(out, self.cut, penalty) for out in folds]
        nats = {step: fit([self._named(own[step]) for own in adapters], none)[1] for step in adapters[0]}
        best = min((step for step in nats if step), key=lambda step: nats[step])
        unseen, _ = fit([self._named(own[best]) for own in adapters], none)
        both, nats_both = fit([self._named(own[best], at) for own, at in zip(adapters, maps, strict=True)], none)
        report = {
            "steps": best,
            "nats on left-out categories": {
                "frozen": fit(plain, none)[1],
                "map": fit(plain, maps)[1],
                "adapted": nats[best],
                "both": nats_both,
                "by step": {str(step): value for step, value in nats.items()},
            },
        }
        return best, {"adapted": unseen, "both": both}, report

    def _named(self, adapted: FloatArray, mapped: Vectors | None = None) -> AdaptedWords:
        return AdaptedWords(**vars(self.log), adapted=adapted, mapped=mapped)


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
    validation = report["validation"]
    kinds = ("frozen", "map", "adapted", "both")
    lines = ["| left-out categories, weeks before the test | steps | " + " | ".join(kinds) + " |", "|---" * 6 + "|"]
    for names, found in validation.items():
        nats = found["nats on left-out categories"]
        cells = [str(found["steps"]), *(f"{nats[kind]:.4f}" for kind in kinds)]
        lines.append(f"| {names} names | " + " | ".join(cells) + " |")
    for what, sign in (("nats", ""), ("paired", "+")):
        lines += [
            "",
            f"| {'row' if what == 'nats' else 'difference'} | " + " | ".join(SPLITS) + " |",
            "|---|---:|---:|",
        ]
        for name in report["splits"][SPLITS[0]][what]:
            found = [report["splits"][split][what][name] for split in SPLITS]
            lines.append(
                f"| {name} | " + " | ".join(f"{part['mean']:{sign}.4f} ± {part['se']:.4f}" for part in found) + " |"
            )
    return "\n".join(lines)


def main(
    json_file: Annotated[Path, file_option("File of the report; a finished one is printed again.", "--json")],
    steps: Annotated[int, typer.Option(min=10, help="Steps of a training, at most; a multiple of 10.")] = 120,
    rate: Annotated[float, typer.Option(min=0.0, help="Step size.")] = AdapterSettings.rate,
    limit: Annotated[int | None, typer.Option(help="Test purchases of a split, at most.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Train what is not yet trained, judge, write the report, and print it; trainings are kept beside it."""
    torch.set_num_threads(threads)
    settings = AdapterSettings(rate=rate)
    if steps % settings.every:
        raise InvalidInput(f"steps: got {steps}; allowed: multiples of {settings.every}")
    report: dict[str, Any] = read_json_object(json_file) if json_file.is_file() else {}
    if "splits" not in report:
        with progress_words() as notify:
            study, folder = WordStudy.online_retail(), json_file.with_suffix("")
            models, validation = {}, {}
            for names in CONTROLS:
                kinds = Adapting(study, names, settings, WordSettings(folds=3), steps, "minilm", folder, notify)
                models[names], validation[names] = kinds.scorers()
                write_json(json_file, {"validation": validation})
            notify("judging")
            report = {"validation": validation, "splits": judge(study, models, limit)}
            write_json(json_file, report)
    typer.echo(table(report))


if __name__ == "__main__":
    run(main)
