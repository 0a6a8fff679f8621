"""`malles consumers evaluate`: every row on every split of the protocol, with errors."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malles_env.cli.fitting.occasions import load_occasions
from malles_env.cli.places import AddressOption, EngineOption
from malles_env.cli.progress import progress_words
from malles_env.cli.tables import cell_table, fitting
from malles_env.errors import invalid

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions
    from malles_env.evaluation.comparison.runner import Comparison


def evaluate_command(
    model: Annotated[
        str | None,
        typer.Option(help="Taste model of the row `aligned`, a shipped name or a folder; by default smollm2."),
    ] = None,
    model_seen: Annotated[
        str | None,
        typer.Option(
            help="The same trained with --train-on seen, for the splits that hold out; by default MODEL-seen."
        ),
    ] = None,
    rows: Annotated[str, typer.Option(help="Rows, comma-separated, or all.")] = "all",
    splits: Annotated[str, typer.Option(help="Splits, comma-separated, or all.")] = "all",
    frozen: Annotated[
        str | None, typer.Option(help="Taste model of the row `aligned_frozen` (twin: FROZEN-seen), if you made one.")
    ] = None,
    prompted: Annotated[
        str | None, typer.Option(help="Prompted model of the row `prompted`, from malles align-prompted, if any.")
    ] = None,
    unaligned: Annotated[
        str | None, typer.Option(help="Backbone prompted as it is, for the row `unaligned`, e.g. smollm2.")
    ] = None,
    slow: Annotated[int, typer.Option(help="Visits of a split given to rows that read a prompt for each.")] = 60,
    limit: Annotated[int | None, typer.Option(help="Test purchases of a split; default: the protocol's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draw; default: the protocol's.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all numbers to this file.")] = None,
    docs_file: Annotated[
        Path | None,
        typer.Option("--docs", help="Write a Markdown page to this file, and all scores to a .csv file beside it."),
    ] = None,
    card: Annotated[
        list[Path] | None,
        typer.Option(help="Write the scores of `aligned` into the card of this model; may be repeated."),
    ] = None,
    occasions: Annotated[
        Path | None, typer.Option(help="Folder of choice occasions; default: the Complete Journey.")
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="complete-journey, or online-retail: a wholesaler's log with real product names, every row with text "
            "also with names shuffled and anonymous (options: model, prompted, unaligned, encoder, slow, rows, "
            "splits, limit, threads, json)."
        ),
    ] = "complete-journey",
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="With online-retail: NAME=BACKBONE, a row frozen_NAME of a language model (a folder, a GGUF file or a "
            "hub id) that reads names; may be repeated."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes, 1 by default; with --engine ray all cores of the cluster.")
    ] = None,
    engine: EngineOption = "processes",
    address: AddressOption = None,
) -> None:
    """Judge consumers on purchases they never saw, beside every simpler model, with standard errors.

    Each row is kept as it is finished: the same command continues where it was stopped.
    """
    import torch

    from malles_env.evaluation.comparison.language_rows import LanguageRows, taste_pairs
    from malles_env.evaluation.comparison.registry import chosen_rows
    from malles_env.evaluation.comparison.report import all_scores, markdown
    from malles_env.evaluation.comparison.results_json import as_json
    from malles_env.evaluation.comparison.runner import Elsewhere, compare
    from malles_env.evaluation.comparison.study import Study
    from malles_env.evaluation.protocol import protocol as known_protocol
    from malles_env.files import write_json, write_text
    from malles_env.jobs import make_executor
    from malles_env.preference.store.card import put_scores

    here = engine == "processes" and (workers or 1) == 1
    executor = make_executor(engine, workers or (1 if engine == "processes" else None), address)
    torch.set_num_threads(threads)
    if encoder and protocol != "online-retail":
        raise invalid("encoder", encoder, "nothing without --protocol online-retail")
    known_protocol(protocol)
    if protocol == "online-retail":
        from malles_env.cli.fitting.align_names import evaluate_words

        others = {
            "model-seen": model_seen,
            "frozen": frozen,
            "seed": seed,
            "docs": docs_file,
            "card": card or None,
            "occasions": occasions,
            "engine": None if here else engine,
        }
        evaluate_words(
            model, rows, splits, limit, json_file, prompted=prompted, unaligned=unaligned, encoders=encoder or (),
            slow=slow, refused=others,
        )  # fmt: skip
        return
    pairs = taste_pairs(model, model_seen, frozen)
    asked = LanguageRows(tuple(pairs.items()), prompted, unaligned)
    language = asked.factories()
    names, parts = chosen_rows(rows, language), _splits(splits)
    study = Study(load_occasions(occasions))
    parts = _possible(parts, splits.strip() == "all", study.occasions, pairs, occasions)
    with progress_words() as notify:
        found = compare(
            study, names, parts, language=language, limit=limit, seed=seed, slow=slow, notify=notify,
            weights=asked.weights_of, elsewhere=None if here else Elsewhere(executor, asked),
        )  # fmt: skip
    _show(found)
    content = as_json(found)
    facts = {"model": model or "shipped", "occasions": str(occasions or "The Complete Journey")}
    command = " ".join(["malles", *sys.argv[1:]])
    if json_file is not None:
        write_json(json_file, content | {"command": command, "facts": facts}, sort_keys=True)
    if docs_file is not None:
        scores_file = write_text(docs_file.with_suffix(".csv"), all_scores(found))
        write_text(docs_file, markdown(found, study.rules, command, facts, scores_file.name))
        typer.echo(f"written: {scores_file}")
    for folder in card or ():
        put_scores(folder, content, "aligned")
        typer.echo(f"scores put into the card in {folder}")
    for path in (json_file, docs_file):
        if path is not None:
            typer.echo(f"written: {path}")


def _splits(names: str) -> list[str]:
    from malles_env.evaluation.protocol import SPLITS

    if names.strip() == "all":
        return list(SPLITS)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in SPLITS:
            raise invalid("splits", name, f"all, or a comma-separated list of {', '.join(SPLITS)}")
    return [name for name in SPLITS if name in wanted]


def _possible(
    parts: list[str],
    unnamed: bool,
    occasions: Occasions,
    pairs: dict[str, tuple[str, str | None]],
    folder: Path | None = None,
) -> list[str]:
    """Return the splits that these models and occasions allow; one that was not asked for by name may fall out."""
    from malles_env.evaluation.protocol import split_rows

    bought, kept = occasions.occasions["chosen"].to_numpy() > 0, []
    twinless = [whole for whole, twin in pairs.values() if twin is None]
    for split in parts:
        why = ""
        if split != "time" and twinless:
            log = [] if folder is None else ["--occasions", str(folder)]
            command = shlex.join(["malles", "align", *log, "--train-on", "seen", "--out", f"{twinless[0]}-seen"])
            why = f"{twinless[0]} has no twin trained with `{command}`"
        elif not (split_rows(occasions, split).test & bought).any():
            why = "the occasions hold no purchase of it"
        if not why:
            kept.append(split)
        elif unnamed:
            typer.echo(f"left out: {split} ({why})", err=True)
        else:
            raise invalid("splits", split, f"another one: {why}")
    return kept


def _show(found: Comparison) -> None:
    from rich.console import Console

    from malles_env.evaluation.comparison.report import choice_cells, paired_cells, quantity_cells

    console = Console()
    for split, rows in found.scores.items():
        counts = found.counts[split]
        title = f"{split}: {counts['purchases']:,} purchases, {counts['visits']:,} visits of buyers"
        for cells in (choice_cells(rows), quantity_cells(rows), paired_cells(found.paired[split])):
            for part in fitting(cells, console.width) if len(cells) > 1 else ():
                console.print(cell_table(part, title))
                title = ""
        for name, why in found.left_out.get(split, {}).items():
            console.print(f"left out: {name} ({why})", highlight=False, soft_wrap=True)
