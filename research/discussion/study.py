"""`python -m research.discussion.study`: does talking help? Discussions against a single agent.

Real purchases of the Complete Journey's test weeks, shelves of several sizes, product sheets of several lengths, 1 to R
rounds; hit rate, nats, quantity error, tokens and seconds. Records are kept one by one: a run that was stopped goes on.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from malles_env.consumers.discussion.cast import Cast, load_cast
from malles_env.consumers.language.base import LanguageModel
from malles_env.errors import CorruptFile, invalid
from malles_env.files import mend_lines
from malles_env.type_aliases import OnMessage
from research.command import run
from research.discussion.arms import cells, decide_all, study_cast, ways
from research.discussion.report import draw, everywhere, summarise, table, write_summary
from research.discussion.shelves import Purchase, draw_purchases

PATIENCE = 1200.0
"""Seconds for an answer of a server: asked again, it would be counted without what had been read for it before."""
READING_MEMORY = 2000
"""Megabytes: what all roles at all tables have read stays, until the next way of deciding."""


def run_study(
    model: LanguageModel,
    cast: Cast,
    purchases: list[Purchase],
    plan: list[tuple[int, int, int]],
    file: Path,
    *,
    summary: bool = True,
    together: int = 1,
    limit: float = float("inf"),
    clock: Callable[[], float] = time.process_time,
    say: OnMessage = print,
) -> list[dict[str, Any]]:
    """Put purchases before all cells of a plan, some purchases after others, until the time is spent.

    Args:
        model: Who decides.
        cast: Roles and limits.
        purchases: In the order they are taken.
        plan: (shelf size, sheet length, rounds) of each cell.
        file: Records as JSON lines; those found there are not made again.
        summary: Whether one-pass summaries at the tokens of the longest discussion are made too.
        together: Purchases decided side by side: a local model writes for several nearly as fast as for one.
        limit: Seconds of the clock after which no further cell is begun.
        clock: What measures the time: that of this process, or of the wall where another process works.
        say: Called with what was done.

    Returns:
        All records, old and new.
    """
    records = read_records(file)
    done = {(r["occasion"], r["size"], r["length"], r["arm"]) for r in records}
    started = clock()
    for start in range(0, len(purchases), together):
        for size, length, rounds in plan:
            for wanted, part in _missing(
                purchases[start : start + together], size, length, ways(rounds, summary), done
            ):
                if clock() - started > limit:
                    return records
                new = list(decide_all(model, cast, part, size, length, rounds, wanted))
                records += new
                _append(file, new)
                say(f"{len(records)} records: {start + len(part)} purchases, shelf of {size}, sheets of {length}")
    return records


def _missing(
    purchases: list[Purchase], size: int, length: int, arms: tuple[str, ...], done: set[tuple[int, int, int, str]]
) -> list[tuple[tuple[str, ...], list[Purchase]]]:
    """Return ways of deciding that are not on record yet, with the purchases that lack just these."""
    found: dict[tuple[str, ...], list[Purchase]] = {}
    for purchase in purchases:
        lacks = tuple(arm for arm in arms if (purchase.occasion, size, length, arm) not in done)
        if lacks:
            found.setdefault(lacks, []).append(purchase)
    return list(found.items())


def read_records(file: Path) -> list[dict[str, Any]]:
    """Return the records of a file; a last line cut short by a kill is passed over.

    Raises:
        CorruptFile: Another line is no record.
    """
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    try:
        return [record for line in lines for record in json.loads(line)]
    except ValueError:
        raise CorruptFile(f"{file}: holds a line that is no record; remove it") from None


def _append(file: Path, records: list[dict[str, Any]]) -> None:
    """Add the records of one cell as one line, all or nothing; another file is left as it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    mend_lines(file, b"[", lambda line: b'"occasion": ' in line or line == b"[]")
    with file.open("ab") as out:
        out.write(json.dumps(records).encode() + b"\n")


def main(
    model: Annotated[str, typer.Option(help="smollm2, a local path or a hub id; with --server its name there.")] = (
        "smollm2"
    ),
    server: Annotated[str | None, typer.Option(help="Base URL of a server of the OpenAI protocol.")] = None,
    top_logprobs: Annotated[int, typer.Option(min=1, help="Tokens whose probability a server is asked for.")] = 20,
    purchases: Annotated[int, typer.Option(min=1, help="Purchases, one per household, at most.")] = 30,
    together: Annotated[int, typer.Option(min=1, help="Purchases decided side by side.")] = 8,
    core_minutes: Annotated[
        float, typer.Option(help="CPU minutes (with --server: minutes) after which no cell is begun.")
    ] = 10.0,
    sizes: Annotated[str, typer.Option(help="Products on the shelf.")] = "8,16,32,64",
    lengths: Annotated[str, typer.Option(help="Characters of padding on each product sheet.")] = "0,150",
    rounds: Annotated[
        int, typer.Option(min=0, max=20, help="Most rounds, at the shelf of --far products; 0: none talks.")
    ] = 5,
    summary: Annotated[bool, typer.Option(help="Make one-pass summaries at equal tokens too.")] = True,
    far: Annotated[int, typer.Option(help="Shelf at which all rounds are talked; elsewhere three.")] = 16,
    cast: Annotated[str, typer.Option(help="retail, wholesale or a .yaml file.")] = "retail",
    characters: Annotated[int, typer.Option(min=100, help="Characters a role reads at most.")] = 1200,
    words: Annotated[int, typer.Option(min=1, help="Words a role says at most in a round.")] = 15,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw of purchases.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of records, table and plot; a second call goes on in it.")] = Path(
        "runs/discussion"
    ),
) -> None:
    """Compare a single agent, one-pass summaries at equal tokens and discussions of 1 to R rounds on real purchases."""
    from malles_env.data.sources.prepare import prepare_complete_journey

    wanted, padding = _numbers("sizes", sizes), _numbers("lengths", lengths)
    chosen = study_cast(load_cast(cast), characters, words)
    asked = _model(model, server, top_logprobs)
    drawn = draw_purchases(prepare_complete_journey(), purchases, max(wanted), seed)
    plan = cells(wanted, padding, rounds, far)
    clock = time.process_time if server is None else time.monotonic
    kept, limit = out / "records.jsonl", 60 * core_minutes
    records = run_study(asked, chosen, drawn, plan, kept, summary=summary, together=together, limit=limit, clock=clock)
    found = summarise(records)
    command = " ".join(["python -m research.discussion.study", *sys.argv[1:]])
    text = table(found, command, "cpu_seconds" if server is None else "seconds")
    typer.echo(text)
    write_summary(found, text, command, {"model": asked.name, "seed": seed, "cast": cast, "words": words}, out)
    if whole := everywhere(records):
        typer.echo(f"plot, of purchases decided in every cell: {draw(summarise(whole), out / 'discussion.png')}")


def _model(name: str, server: str | None, top_logprobs: int) -> LanguageModel:
    from malles_env.consumers.language import LocalModel, Patience, ServedModel

    if server is None:
        return LocalModel.load(name, reading_memory=READING_MEMORY)
    patience = Patience(timeout=PATIENCE)
    served = ServedModel(name, server, top_logprobs=top_logprobs, patience=patience, check_after=math.inf)
    typer.echo(f"{name} at {server} is asked through {served.api}, identity {served.identity[:12]}")
    return served


def _numbers(field: str, text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise invalid(field, text, "whole numbers separated by commas") from None
    if not found or min(found) < 0:
        raise invalid(field, text, "whole numbers of at least 0")
    return found


if __name__ == "__main__":
    run(main)
