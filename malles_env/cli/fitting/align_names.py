"""`malles align` and `malles consumers evaluate` on the wholesaler's log with real product names."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from malles_env.errors import invalid

if TYPE_CHECKING:
    from malles_env.preference.data.renamed import Names

NamesOption = Annotated[
    str, typer.Option(help="With online-retail: true, or shuffled among each category's products, for the control.")
]


def align_words(
    backbone: str,
    out: Path,
    names: str,
    rank: int,
    seed: int,
    threads: int,
    *,
    resume: bool,
    refused: Mapping[str, Any],
) -> None:
    """Train a word model.

    Args:
        backbone: Name of the encoder; ``embedded``, the default of other logs, knows no words and means minilm here.
        out: Folder of the run.
        names: ``true`` or ``shuffled``.
        rank: Of the adapter in the encoder; 0 leaves the encoder as it is.
        seed: Seed of what is drawn.
        threads: CPU threads.
        resume: Take what a stopped run in `out` has finished.
        refused: Options that mean nothing here, by name; all must be None.

    Raises:
        InvalidInput: Other names, or an option that means nothing here.
        MissingResource: The log or the encoder is not there.
    """
    import torch

    from malles_env.cli.fitting.occasions import reading_progress
    from malles_env.cli.progress import progress_words
    from malles_env.evaluation.transfer.study import WordStudy
    from malles_env.evaluation.transfer.word_model.adapter_training import AdapterSettings
    from malles_env.evaluation.transfer.word_model.word_fit import WordSettings
    from malles_env.workflows.align_names import WordsJob, run_words_job

    if names not in ("true", "shuffled"):
        raise invalid("names", names, "true or shuffled (anonymous names have nothing to learn from)")
    _refuse(refused)
    torch.set_num_threads(threads)
    settings = WordSettings(seed=seed) if rank else WordSettings(width=0, seed=seed)
    adapter = AdapterSettings(rank=rank, seed=seed) if rank else None
    encoder, command = "minilm" if backbone == "embedded" else backbone, " ".join(["malles", *sys.argv[1:]])
    job = WordsJob(
        out, backbone=encoder, names=cast("Names", names), settings=settings, adapter=adapter, seed=seed, resume=resume,
        command=command,
    )  # fmt: skip
    with progress_words() as notify:
        notify("the log's occasions")
        study = WordStudy.online_retail()
        model = run_words_job(job, study, notify=notify, reading=reading_progress())
    typer.echo(f"model {model.weights_hash[:12]} in {out / 'model'}")
    typer.echo(f"next: malles consumers evaluate --protocol online-retail --model {out}")


def evaluate_words(
    model: str | None,
    rows: str,
    splits: str,
    limit: int | None,
    json_file: Path | None,
    *,
    prompted: str | None = None,
    unaligned: str | None = None,
    encoders: Sequence[str] = (),
    slow: int = 60,
    refused: Mapping[str, Any],
) -> None:
    """Judge every row on every split and on launches; answers are kept as they are finished.

    Args:
        model: Folder of the row ``aligned``; its controls are MODEL-shuffled, MODEL-frozen and MODEL-frozen-shuffled.
        rows: Comma-separated names, or ``all``.
        splits: Likewise; ``launches`` is one.
        limit: Test purchases of a split, at most.
        json_file: Written anew after each row.
        prompted: Folder of the row ``prompted``, made by `malles align-prompted --protocol online-retail`; its control
            is PROMPTED-shuffled.
        unaligned: Backbone of the row ``unaligned``.
        encoders: Further frozen encoders, ``NAME=BACKBONE`` each: rows ``frozen_NAME``.
        slow: Test purchases of a split put to prompted rows.
        refused: Options that mean nothing here, by name; all must be None.

    Raises:
        InvalidInput: An unknown row or split, or an option that means nothing here.
    """
    from malles_env.cli.progress import progress_words
    from malles_env.evaluation.comparison.registry import rows_among
    from malles_env.evaluation.protocol import protocol
    from malles_env.evaluation.transfer.comparison import LAUNCHES, Comparison, compare_words
    from malles_env.evaluation.transfer.rows import encoder_rows, possible_rows
    from malles_env.evaluation.transfer.study import WordStudy
    from malles_env.files import write_json

    _refuse(refused)
    frozen = encoder_rows(encoders)
    names = rows_among(rows, possible_rows(model, prompted, unaligned, frozen))
    there = [*protocol("online-retail").splits, LAUNCHES]
    parts = there if splits.strip() == "all" else [name.strip() for name in splits.split(",") if name.strip()]
    for name in parts:
        if name not in there:
            raise invalid("splits", name, f"all, or a comma-separated list of {', '.join(there)}")
    command = " ".join(["malles", *sys.argv[1:]])

    def keep(found: Comparison) -> None:
        if json_file is not None:
            write_json(json_file, found.as_json() | {"command": command})

    with progress_words() as notify:
        found = compare_words(
            WordStudy.online_retail(), names, parts, model=model, prompted=prompted, unaligned=unaligned,
            encoders=frozen, limit=limit, slow=slow, notify=notify, done=keep,
        )  # fmt: skip
    _show(found)
    if json_file is not None:
        typer.echo(f"written: {json_file}")


def _refuse(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if value is not None:
            raise invalid(name, value, "nothing with --protocol online-retail")


def _show(found: Any) -> None:
    from rich.console import Console

    from malles_env.cli.tables import cell_table, fitting

    console = Console()

    def show(cells: list[list[str]], title: str) -> None:
        for part in fitting(cells, console.width):
            console.print(cell_table(part, title))

    for split, rows in found.scores.items():
        counts = found.counts[split]
        few = {row: f" ({count} purchases)" for row, count in found.asked[split].items()}
        body = [[row + few.get(row, ""), _cell(values["hit"]), _cell(values["nll"])] for row, values in rows.items()]
        show(
            [["row", "hit", "nll"], *body],
            f"{split}: {counts['purchases']:,} purchases, {counts['customers']:,} customers",
        )
        pairs = [[pair, _cell(d["hit"], "+"), _cell(d["nll"], "+")] for pair, d in found.paired[split].items()]
        if pairs:
            show([["difference", "hit", "nll"], *pairs], "")
    if found.launches:
        body = [[row, _cell(estimate)] for row, estimate in found.launches.items()]
        show([["row", "rank correlation with sales"], *body], f"launches: {found.counts['launches']['launches']}")


def _cell(estimate: Any, sign: str = "") -> str:
    return f"{estimate.mean:{sign}.4f} ± {estimate.se:.4f}"
