"""`malles discuss`: role agents talk a purchase over, turn by turn in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

    from malles_env.consumers.discussion.cast import Cast
    from malles_env.consumers.discussion.consumers import DiscussionConsumers
    from malles_env.consumers.discussion.shelf import Shelf
    from malles_env.consumers.discussion.transcript import Discussion, Turn
    from malles_env.market.offer import Offer, Response
    from malles_env.scenarios.schema import Scenario

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


def discuss(
    scenario: Annotated[str, typer.Argument(help="Name of a bundled scenario, or path of a .yaml file.")],
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
    cast: Annotated[
        str | None, typer.Option(help="retail, wholesale or a .yaml file; default the scenario's, else retail.")
    ] = None,
    sheets: Annotated[Path | None, typer.Option(help="A .yaml file of product sheets; default the bundled ones.")] = (
        None
    ),
    rounds: Annotated[
        int | None, typer.Option(min=0, max=20, help="Rounds, 3 by default; 0 lets the moderator decide at once.")
    ] = None,
    segment: Annotated[str | None, typer.Option(help="Name of the segment that buys; default the first.")] = None,
    discount: Annotated[float, typer.Option(help="Discount depth of all products, 0 to 0.9.")] = 0.0,
    temperature: Annotated[
        float | None, typer.Option(help="Of what is said; 0, the default, takes the likeliest words.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the shelf's order and of what is said.")] = None,
    out: Annotated[Path | None, typer.Option(help="File the transcript is added to, as JSON lines.")] = None,
) -> None:
    """Show role agents talk over what one segment of a scenario buys, and what their moderator decides.

    A scenario of kind discussion is talked over as its file says, but for the options given, in one order of the shelf.
    """
    from rich.console import Console

    from malles_env.errors import invalid
    from malles_env.scenarios import load_scenario
    from malles_env.scenarios.consumer_kinds.discussion import discussion_from_entry, only_segment, with_discussion

    if not 0.0 <= discount <= 0.9:
        raise invalid("discount", discount, "0 to 0.9")
    loaded = load_scenario(scenario)
    at = _segment(loaded, segment)
    console = Console(highlight=False)
    files = {name: None if path is None else str(path) for name, path in (("sheets", sheets), ("transcript", out))}
    asked = {"model": model, "server": tuple(server) if server else None, "top_logprobs": top_logprobs}
    named = {"cast": cast, "rounds": rounds, "temperature": temperature, "seed": seed}
    entry = with_discussion(loaded, **asked, **named, **files, orders=1)
    consumers = only_segment(discussion_from_entry(entry), at)
    offer = _offer(loaded, at, discount)
    _open(console, loaded, consumers, offer, at)
    response = _watched(consumers, console).respond(offer)
    _close(console, loaded, consumers, offer, response)
    if consumers.transcript is not None:
        console.print(f"transcript: {consumers.transcript}", markup=False)


def _segment(scenario: Scenario, name: str | None) -> int:
    from malles_env.errors import invalid

    names = [part.name for part in scenario.segments]
    if name is None:
        return 0
    if name not in names:
        raise invalid("segment", name, ", ".join(names))
    return names.index(name)


def _offer(scenario: Scenario, segment: int, discount: float) -> Offer:
    import numpy as np

    from malles_env.market.offer import Offer

    catalog, loyalty = scenario.catalog(), scenario.population().initial_loyalty
    return Offer(
        prices=catalog.regular_price[None] * (1.0 - discount),
        available=np.ones((1, catalog.num_products), dtype=bool),
        regular_price=catalog.regular_price,
        mean_field=scenario.first_mean_field()[None],
        loyalty=loyalty[None, segment : segment + 1],
    )


def _open(console: Console, scenario: Scenario, consumers: DiscussionConsumers, offer: Offer, at: int) -> None:
    from rich.text import Text

    cast = consumers.cast
    rounds = "1 round" if consumers.rounds == 1 else f"{consumers.rounds} rounds"
    console.print(Text(f"{scenario.title or scenario.name}: {scenario.segments[at].name}", style="bold"))
    console.print(Text(f"{cast.title or cast.name}; {rounds}; {consumers.model.name}", style="dim"))
    (table,) = consumers.tables(offer)
    console.print(Text(table.buyer_words(cast)))
    console.print(_shelf(scenario, table.shelf))
    roles = [(role.name, "", " ".join(role.brief.split()), _colour(cast, role.name)) for role in cast.roles]
    _print_lines(console, roles)


def _shelf(scenario: Scenario, shelf: Shelf) -> RichTable:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("", "on the shelf", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(scenario.currency, justify="right")
    for code, sheet, price in zip(shelf.codes, shelf.sheets, shelf.price, strict=True):
        table.add_row(code, Text(sheet.title), f"{price:.2f}")
    return table


def _colour(cast: Cast, role: str) -> str:
    return COLOURS[[known.name for known in cast.roles].index(role) % len(COLOURS)]


def _print_lines(console: Console, lines: list[tuple[str, str, str, str]]) -> None:
    """Print lines of name, codes, words and colour; words that go on below stay in their column."""
    from rich.table import Table
    from rich.text import Text

    grid, coded = Table.grid(padding=(0, 2, 0, 0)), any(codes for _, codes, _, _ in lines)
    for _ in range(2 if coded else 1):
        grid.add_column(no_wrap=True)
    for name, codes, words, colour in lines:
        grid.add_row(*(Text(part, style=colour) for part in (f"  {name}", codes)[: 1 + coded]), Text(words))
    console.print(grid)


def _watched(consumers: DiscussionConsumers, console: Console) -> DiscussionConsumers:
    """Return the same consumers whose turns are printed as their rounds end."""
    from dataclasses import replace

    from rich.text import Text

    cast = consumers.cast
    heard: list[tuple[str, str, str, str]] = []

    def watch(discussion: Discussion, turn: Turn) -> None:
        heard.append((turn.role, _named(turn, cast), turn.said or "(silent)", _colour(cast, turn.role)))
        if turn.role != cast.roles[-1].name:
            return
        if turn.form == "proposal":
            names = "; ".join(discussion.shelf.get(code, cast.outside) for code in discussion.agreed)
            heard.append(("most propose", ", ".join(discussion.agreed), names or "none of them", "bold"))
        console.print(Text(f"\nround {turn.round}: {turn.phase}", style="bold"))
        _print_lines(console, heard)
        heard.clear()

    return replace(consumers, watch=watch)


def _named(turn: Turn, cast: Cast) -> str:
    """Return what a turn proposes or votes for, in codes."""
    from malles_env.consumers.discussion.shelf import NOTHING

    if turn.form == "ballot" and turn.named[0] != NOTHING:
        return f"{turn.named[0]}, {turn.quantity} {cast.unit}"
    return ", ".join(turn.named)


def _close(
    console: Console, scenario: Scenario, consumers: DiscussionConsumers, offer: Offer, response: Response
) -> None:
    from rich.text import Text

    console.print(Text("\nthe moderator decides", style="bold"))
    console.print(_decision(scenario, consumers, offer, response))
    used = consumers.model.usage
    known = f" and {used.cached} answered from the cache" if used.cached else ""
    console.print(
        Text(
            f"{used.requests} questions{known}, {used.prompt_tokens:,} tokens read ({used.shared_tokens:,} of them "
            f"shared), {used.completion_tokens:,} written, {used.seconds:.1f} s",
            style="dim",
        )
    )


def _decision(scenario: Scenario, consumers: DiscussionConsumers, offer: Offer, response: Response) -> RichTable:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from malles_env.consumers.discussion.shelf import NOTHING

    table = Table("", "", box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("chosen by", "", f"{consumers.cast.unit} each"):
        table.add_column(header, justify="right" if header else "left")
    probability, quantity = response.probability[0, 0], response.quantity[0, 0]
    rows = [(NOTHING, consumers.cast.outside, probability[0], "")]
    (shelf,) = (table.shelf for table in consumers.tables(offer))
    codes = {sheet.product_id: code for code, sheet in zip(shelf.codes, shelf.sheets, strict=True)}
    rows += [
        (codes[product.product_id], product.title or product.product_id, probability[1 + j], f"{quantity[j]:.1f}")
        for j, product in enumerate(scenario.products)
    ]
    for code, title, share, units in sorted(rows, key=lambda row: -row[2]):
        table.add_row(code, Text(title), f"{share:.1%}", Text("█" * round(30 * share), style="cyan"), units)
    return table
