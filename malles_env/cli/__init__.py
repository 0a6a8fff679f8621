"""The `malles` command: its root and its parts."""

from __future__ import annotations

from typing import Annotated

import typer

from malles_env.cli.assortment import assortment
from malles_env.cli.cache import cache_app
from malles_env.cli.data import data_app
from malles_env.cli.discuss import discuss
from malles_env.cli.evaluation.audit import audit_command
from malles_env.cli.evaluation.backtest import backtest_command
from malles_env.cli.evaluation.evaluate import evaluate_command
from malles_env.cli.evaluation.experiment import experiment_command
from malles_env.cli.evaluation.forces import forces_command
from malles_env.cli.evaluation.injection import audit_app
from malles_env.cli.evaluation.validate import validate_command
from malles_env.cli.failures import ReadableGroup, hear_signals, leave_threads_quiet
from malles_env.cli.fitting.align import align_command, consumers_app
from malles_env.cli.fitting.align_prompted import prompted_command
from malles_env.cli.fitting.calibrate import calibrate_command
from malles_env.cli.fitting.distil import distil_command
from malles_env.cli.scenario import scenario_app
from malles_env.cli.sellers.ope import ope_command
from malles_env.cli.sellers.record import record_command
from malles_env.cli.sellers.reproduce import reproduce
from malles_env.cli.sellers.study import study
from malles_env.cli.sellers.tournament import tournament
from malles_env.cli.sellers.train import demo, evaluate, train
from malles_env.cli.studio import studio

app = typer.Typer(
    name="malles",
    cls=ReadableGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Pricing policies meet consumers whose tastes a language model read from real transactions.",
    epilog="First steps: `malles demo` trains a seller and draws what it does; `malles scenario list` names the "
    "markets; `malles train soft-drinks` trains in one of them.",
)
app.command("demo")(demo)
app.command("train")(train)
app.command("evaluate")(evaluate)
app.command("study")(study)
app.command("tournament")(tournament)
app.command("record")(record_command)
app.command("ope")(ope_command)
app.command("reproduce")(reproduce)
app.command("discuss")(discuss)
app.command("studio")(studio)
app.command("align")(align_command)
app.command("align-prompted")(prompted_command)
app.command("distil")(distil_command)
app.command("experiment")(experiment_command)
app.command("assortment")(assortment)
consumers_app.command("evaluate")(evaluate_command)
consumers_app.command("audit")(audit_command)
consumers_app.command("backtest")(backtest_command)
consumers_app.command("calibrate")(calibrate_command)
consumers_app.command("validate")(validate_command)
consumers_app.command("forces")(forces_command)
app.add_typer(cache_app, name="cache")
app.add_typer(data_app, name="data")
app.add_typer(scenario_app, name="scenario")
app.add_typer(consumers_app, name="consumers")
app.add_typer(audit_app, name="audit")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"malles-env {version('malles-env')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Pricing policies meet consumers whose tastes a language model read from real transactions."""


def main() -> None:
    """Run the command line."""
    hear_signals()
    leave_threads_quiet()
    app()
