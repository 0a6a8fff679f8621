"""`malles consumers calibrate`: fit a language model's answers to the visits of real households."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malles_env.cli.fitting.occasions import OccasionsOption, load_occasions
from malles_env.cli.places import file_option
from malles_env.cli.progress import asking_bar, check_scenario_out, plain_console

if TYPE_CHECKING:
    from rich.console import Console

    from malles_env.workflows.calibration import Calibrated


def calibrate_command(
    scenario: Annotated[str, typer.Argument(help="A scenario built from the log: its name, or path of a .yaml file.")],
    out: Annotated[Path, file_option("Scenario file to write, with the fitted numbers in it.")],
    model: Annotated[
        str | None, typer.Option(help="smollm2 (default), a local path or a hub id; with --server its name there.")
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(help="Base URL of a server of the OpenAI protocol; several with the same weights share the load."),
    ] = None,
    top_logprobs: Annotated[
        int | None, typer.Option(min=1, help="Tokens whose probability a server is asked for, 20 by default.")
    ] = None,
    visits: Annotated[int, typer.Option(min=1, help="Visits to fit to, at most; training and validation weeks.")] = 400,
    test_visits: Annotated[int, typer.Option(min=1, help="Visits to judge on, at most; test weeks.")] = 200,
    orders: Annotated[int | None, typer.Option(min=1, help="Shelf orders averaged; 4 by default.")] = None,
    loyalty: Annotated[
        str | None, typer.Option(help="states (default), words or none: how past purchases are stated.")
    ] = None,
    mean_field: Annotated[
        str | None, typer.Option(help="words (default), numbers (its pull is fitted) or none.")
    ] = None,
    quantity: Annotated[str | None, typer.Option(help="asked (default) or one: units per purchase.")] = None,
    price_sensitivity: Annotated[
        bool, typer.Option("--price-sensitivity", help="Ask, too, what prices mean to it: gives the surplus a unit.")
    ] = False,
    market: Annotated[str | None, typer.Option(help="Market of the log; default the scenario's.")] = None,
    occasions: OccasionsOption = None,
    json_file: Annotated[Path | None, file_option("File for all numbers as JSON.", "--json")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the visits drawn and of the folds.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of a local model.")] = 1,
) -> None:
    """Fit temperature and offsets per persona to real visits, and judge them on visits of later weeks.

    Answers are kept in the answer cache: a killed run continues where it was.
    """
    import torch

    from malles_env.files import write_json
    from malles_env.scenarios import load_scenario, save_scenario
    from malles_env.workflows.calibration import as_json, calibrate, described

    torch.set_num_threads(threads)
    check_scenario_out(out)
    loaded, console = load_scenario(scenario), plain_console()
    asked = {"orders": orders, "loyalty": loyalty, "mean_field": mean_field, "quantity": quantity}
    how: dict[str, Any] = {
        "model": model,
        "server": tuple(server) if server else None,
        "top_logprobs": top_logprobs,
        **asked,
    }
    with asking_bar(console, "visits") as bar:
        found = calibrate(
            loaded,
            load_occasions(occasions),
            market=market,
            visits=visits,
            test_visits=test_visits,
            seed=seed,
            price_sensitivity=price_sensitivity,
            progress=lambda words, done, of: bar(f"{words} visits", done, of),
            **{name: value for name, value in how.items() if value is not None},
        )
    command = " ".join(["malles", *sys.argv[1:]])
    save_scenario(described(found, command), out)
    show(console, found)
    if json_file is not None:
        write_json(json_file, {"scenario": loaded.name, "seed": seed, "command": command, **as_json(found)})
        console.print(f"written: {json_file}", markup=False)
    console.print(f"scenario: {out}", markup=False)


def show(console: Console, found: Calibrated) -> None:
    """Print what was fitted and how it did."""
    from rich import box
    from rich.table import Table

    from malles_env.consumers.prompted.scores import MEASURES

    first = next(iter(found.scores))
    named = [name for name in MEASURES if name in found.scores[first].values]
    for title, part in (("On visits of the test weeks", "values"), (f"Minus {first}, visit by visit", "gains")):
        table = Table("", title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        shown = {row: getattr(score, part) for row, score in found.scores.items() if getattr(score, part)}
        for row in shown:
            table.add_column(row, justify="right")
        for name in named:
            table.add_row(name.replace("_", " "), *(str(values[name]) for values in shown.values()))
        console.print(table)
    for line in _words(found):
        console.print(line, markup=False)


def _words(found: Calibrated) -> Iterator[str]:
    """Yield what was asked and what was fitted."""
    fit, test, best, pool = found.fit.visits, found.test.visits, found.pooled.chosen, found.pooled.pool
    yield (
        f"{len(fit)} visits fitted to ({(fit.chosen > 0).sum()} purchases), {len(test)} judged on "
        f"({(test.chosen > 0).sum()}); ± clusters households; nats: lower is better"
    )
    drawn = (
        "statistically indistinguishable"
        if best.pull == float("inf")
        else f"drawn to the ones for all with strength {best.pull:g}"
    )
    yield (
        f"chosen by folds of households: personas {drawn}, products {'with' if best.shift else 'without'} shifts; "
        f"for all: temperature {pool.temperature[0]:.2f}, outside {pool.outside[0]:+.2f}"
    )
