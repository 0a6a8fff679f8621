"""`malles ope`: what a log says of other policies, beside what these really earn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from malles_env.cli.places import file_option
from malles_env.errors import InvalidInput, invalid


def ope_command(
    log: Annotated[Path, typer.Argument(help="A .parquet file or a folder that `malles record` wrote.")],
    policy: Annotated[
        list[str],
        typer.Option(
            help="Policy to evaluate, e.g. gaussian:0.1:nash, ppo:PATH or, for discrete logs, nash; repeatable."
        ),
    ],
    agent: Annotated[str | None, typer.Option(help="Whose log; default the first seller logged.")] = None,
    truth: Annotated[int, typer.Option(help="Episodes that each policy plays in the simulator; 0: none.")] = 512,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap over episodes.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of resamples, draws and the simulator's episodes.")] = 0,
    scenario: Annotated[
        str | None, typer.Option(help="The log's market, where it no longer stands where the log says.")
    ] = None,
    json_file: Annotated[Path | None, file_option("File for all numbers as JSON.", "--json")] = None,
    plot: Annotated[Path | None, file_option("File for a plot of error against log size, .png.", "--plot")] = None,
) -> None:
    """Estimate what policies would earn from a log alone: dm, ips, snips and dr with intervals, beside the truth."""
    from malles_agents.console import make_console
    from malles_agents.logged.evaluation import Settings, judge, read_log
    from malles_agents.logged.report import as_json, draw, table_of
    from malles_env.files import write_json

    if plot is not None and plot.suffix != ".png":
        raise invalid("plot", str(plot), "a path that ends in .png")
    if plot is not None and not truth:
        raise InvalidInput("plot: got --truth 0; allowed: a truth to measure errors against")
    settings = Settings(truth=truth, resamples=resamples, seed=seed)
    console, played = make_console(), read_log(log, agent)
    with console.status("evaluating"):
        found = judge(played, policy, settings, scenario=scenario, sizes=plot is not None)
    for one in found:
        console.print(table_of(one, played))
    if json_file is not None:
        content = as_json(found, played) | {"command": " ".join(["malles", *sys.argv[1:]])}
        console.print(f"written: {write_json(json_file, content, allow_nan=False)}", markup=False)
    if plot is not None:
        console.print(f"plot: {draw(found, played, plot)}", markup=False)
