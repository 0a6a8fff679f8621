"""`malles discuss`: role agents talk a purchase over, turn by turn in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

    from malles_env.consumers.discussion.consumers import DiscussionConsumers
    from malles_env.consumers.discussion.transcript import Discussion, Turn
    from malles_env.consumers.language.base import LanguageModel
    from malles_env.market.offer import Offer, Response
    from malles_env.scenarios.schema import Scenario

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


def discuss(
    scenario: Annotated[str, typer.Argument(help="Name of a bundled scenario, or path of a .yaml file.")],
    model: Annotated[
        str, typer.Option(help="smollm2, a local path or a hub id; with --server the model's name there.")
    ] = "smollm2",
    server: Annotated[str | None, typer.Option(help="Base URL of a server of the OpenAI protocol.")] = None,
    cast: Annotated[
        str | None, typer.Option(help="retail, wholesale or a .yaml file; default the scenario's, else retail.")
    ] = None,
    sheets: Annotated[Path | None, typer.Option(help="A .yaml file of product sheets; default the bundled ones.")] = (
        None
    ),
    rounds: Annotated[int, typer.Option(min=0, max=20, help="Rounds; 0 lets the moderator decide at once.")] = 3,
    segment: Annotated[str | None, typer.Option(help="Name of the segment that buys; default the first.")] = None,
    discount: Annotated[float, typer.Option(help="Discount depth of all products, 0 to 0.9.")] = 0.0,
    temperature: Annotated[float, typer.Option(help="Of what is said; 0 takes the likeliest words.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the shelf's order and of what is said.")] = 0,
    out: Annotated[Path | None, typer.Option(help="File the transcript is added to, as JSON lines.")] = None,
) -> None:
    """Show role agents talk over what one segment of a scenario buys, and what their moderator decides."""
    from rich.console import Console

    from malles_env.consumers.discussion.cast import load_cast
    from malles_env.errors import invalid
    from malles_env.scenarios import load_scenario
    from malles_env.scenarios.discussing import discussion_consumers, only_segment

    if not 0.0 <= discount <= 0.9:
        raise invalid("discount", discount, "0 to 0.9")
    loaded = load_scenario(scenario)
    at = _segment(loaded, segment)
    console = Console(highlight=False)
    settings = {"rounds": rounds, "seed": seed, "temperature": temperature, "transcript": out}
    chosen = None if cast is None else load_cast(cast)
    asked = language_model(model, server)
    consumers = only_segment(discussion_consumers(loaded, asked, cast=chosen, sheets=sheets, **settings), at)
    offer = _offer(loaded, at, discount)
    _open(console, loaded, consumers, offer, at)
    watched = _watched(consumers, console)
    response = watched.respond(offer)
    _close(console, loaded, watched, response)
    if out is not None:
        console.print(f"transcript: {out}", markup=False)


def language_model(name: str, server: str | None) -> LanguageModel:
    """Return a language model in this process, or one behind a server.

    Raises:
        MissingResource: No such model here.
        LanguageModelError: The server cannot be reached.
    """
    if server is not None:
        from malles_env.consumers.language import ServedModel

        return ServedModel(name, server)
    from malles_env.consumers.language import LocalModel

    return LocalModel.load(name)


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
    console.print(Text(f"{scenario.title or scenario.name}: {scenario.segments[at].name}", style="bold"))
    console.print(Text(f"{cast.title or cast.name}; {consumers.rounds} rounds; {consumers.model.name}", style="dim"))
    (table,) = consumers.tables(offer)
    console.print(Text(table.buyer_words(cast)))
    for number, role in enumerate(cast.roles):
        console.print(Text(f"  {role.name}: {' '.join(role.brief.split())}", style=COLOURS[number % len(COLOURS)]))


def _watched(consumers: DiscussionConsumers, console: Console) -> DiscussionConsumers:
    """Return the same consumers whose turns are printed as their rounds end."""
    from dataclasses import replace

    from rich.text import Text

    names = [role.name for role in consumers.cast.roles]
    opened = [0]

    def watch(discussion: Discussion, turn: Turn) -> None:
        if turn.round > opened[0]:
            opened[0] = turn.round
            console.print(Text(f"\nround {turn.round}: {turn.phase}", style="bold"))
        colour = COLOURS[names.index(turn.role) % len(COLOURS)]
        console.print(Text("  ").append(turn.words(), style=colour))
        if turn.role == names[-1] and turn.form == "proposal":
            told = ", ".join(f"{code} {discussion.shelf.get(code, 'nothing')}" for code in discussion.agreed)
            console.print(Text(f"  proposed by most: {told or 'nothing'}", style="italic"))

    return replace(consumers, watch=watch)


def _close(console: Console, scenario: Scenario, consumers: DiscussionConsumers, response: Response) -> None:
    from rich.text import Text

    console.print(Text("\nthe moderator decides", style="bold"))
    console.print(_decision(scenario, consumers, response))
    used = consumers.model.usage
    console.print(
        Text(
            f"{used.requests} questions, {used.prompt_tokens:,} tokens read ({used.shared_tokens:,} of them shared), "
            f"{used.completion_tokens:,} written, {used.seconds:.1f} s",
            style="dim",
        )
    )


def _decision(scenario: Scenario, consumers: DiscussionConsumers, response: Response) -> RichTable:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("", "chosen by", "", f"{consumers.cast.unit} each", box=box.SIMPLE_HEAD, pad_edge=False)
    probability, quantity = response.probability[0, 0], response.quantity[0, 0]
    rows = [(consumers.cast.outside, probability[0], "")]
    rows += [
        (product.title or product.product_id, probability[1 + j], f"{quantity[j]:.1f}")
        for j, product in enumerate(scenario.products)
    ]
    for title, share, units in sorted(rows, key=lambda row: -row[1]):
        table.add_row(Text(title), f"{share:.1%}", Text("█" * round(30 * share), style="cyan"), units)
    return table
