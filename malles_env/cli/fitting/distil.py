"""`malles distil`: ask any consumers, fit fast ones to them, and measure how well these stand for those."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from malles_env.cli.places import AddressOption, file_option
from malles_env.cli.progress import asking_bar, check_scenario_out, plain_console
from malles_env.errors import invalid

if TYPE_CHECKING:
    from malles_env.jobs import Check
    from malles_env.workflows.distillation import AskedConsumers


def distil_command(
    scenario: Annotated[str, typer.Argument(help="Name of a bundled scenario, or path of a .yaml file.")],
    out: Annotated[Path, file_option("Scenario file to write, with the fitted tastes in it.")],
    consumers: Annotated[
        str,
        typer.Option(
            help="Who is asked: scenario (those of the scenario), prompted (a language model, live), aligned-prompted "
            "(one trained by `malles align-prompted`, live) or discussion (its roles talk before they buy)."
        ),
    ] = "scenario",
    model: Annotated[
        str | None, typer.Option(help="Taste model (of aligned consumers), language model, or a trained one's folder.")
    ] = None,
    questions: Annotated[int, typer.Option(help="Questions for the fit, at most; every segment answers each.")] = 96,
    fresh: Annotated[int, typer.Option(help="Further questions to judge the fit on; 0 leaves it unjudged.")] = 128,
    orders: Annotated[
        int | None,
        typer.Option(min=1, help="Shelf orders averaged; default 4 (prompted), 2 (aligned-prompted), 1 (discussion)."),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=0, max=20, help="Rounds (discussion); default 3.")] = None,
    units: Annotated[bool, typer.Option(help="Ask for units, too (prompted); without: always one.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of all questions.")] = 0,
    choice: Annotated[
        str, typer.Option(help="active: every second question is the most informative one; random: as drawn.")
    ] = "active",
    batch: Annotated[int, typer.Option(help="Questions between two fits.")] = 8,
    target: Annotated[
        float | None, typer.Option(help="Stop when new answers are predicted to this median total variation.")
    ] = None,
    price_transform: Annotated[str, typer.Option(help="log, linear, or auto: what predicts answers better.")] = "auto",
    in_flight: Annotated[int, typer.Option(help="Questions asked at once; a killed run loses so many.")] = 1,
    shares: Annotated[
        bool, typer.Option("--shares", help="Judge on loyalty in shares, as in play, not one last purchase.")
    ] = False,
    answers: Annotated[
        Path | None,
        file_option("File that keeps the answers, to go on from; default beside OUT."),
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(
            help="Base URL of a server of the OpenAI protocol (prompted, discussion); several share the load."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="With --engine ray: questions under way at once, by default all CPUs.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Where questions are put: processes: in this one, or ray: on a Ray cluster.")
    ] = "processes",
    address: AddressOption = None,
    json_file: Annotated[Path | None, file_option("Write all numbers to this file.", "--json")] = None,
) -> None:
    """Put a conjoint experiment to consumers and write a scenario with tastes fitted to their answers."""
    from malles_env.consumers.distil import DistilSettings, Elsewhere, distil
    from malles_env.consumers.distil.report import as_json, table
    from malles_env.files import write_json
    from malles_env.jobs import make_executor
    from malles_env.scenarios import load_scenario, save_scenario
    from malles_env.workflows.audit import audit_subject
    from malles_env.workflows.distillation import AskedConsumers, distilled_scenario

    check_scenario_out(out)
    executor = make_executor(engine, workers, address)
    if workers is not None and engine != "ray":
        raise invalid("workers", workers, "nothing without --engine ray")
    settings = DistilSettings(
        questions=questions,
        fresh=fresh,
        seed=seed,
        choice=cast(Any, choice),
        batch=batch,
        pool=max(256, batch),
        target=target,
        price_transform=_transform(price_transform),
        in_flight=in_flight,
        fresh_shares=shares,
    )
    loaded = load_scenario(scenario)
    how = {"orders": orders, "rounds": rounds, "quantity": None if units else "one"}
    given = {**how, "server": tuple(server) if server else None}
    chosen = tuple((name, value) for name, value in given.items() if value is not None)
    asked = AskedConsumers(scenario, consumers, model, chosen)
    words, subject = asked.words(), audit_subject(loaded, asked())
    console = plain_console()
    with asking_bar(console, "questions") as watch:
        found = distil(
            subject,
            settings,
            answers=answers or out.with_suffix(".answers.jsonl"),
            watch=watch,
            elsewhere=Elsewhere(executor, asked, _needed(asked)) if engine == "ray" else None,
        )
    command = " ".join(["malles", *sys.argv[1:]])
    save_scenario(distilled_scenario(loaded, found, asked=words, command=command), out)
    console.print(table(found, f"{loaded.name}: tastes fitted to {words}"))
    if json_file is not None:
        write_json(json_file, as_json(found, settings, scenario=loaded.name, asked_of=words, command=command))
        console.print(f"written: {json_file}", markup=False)
    console.print(f"scenario: {out}", markup=False)


def _needed(asked: AskedConsumers) -> list[Check]:
    """Return what other machines must have to make the same consumers."""
    from malles_env.jobs.checks import files_check
    from malles_env.preference.store.locate import weights_check

    reader = asked.model or getattr(asked.applied().consumers, "model", None)
    return [files_check([asked.scenario]), weights_check([reader if asked.kind == "scenario" else None])]


def _transform(name: str) -> Any:
    if name not in ("auto", "log", "linear"):
        raise invalid("price_transform", name, "auto, log or linear")
    return None if name == "auto" else name
