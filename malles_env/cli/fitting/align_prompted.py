"""`malles align-prompted`: post-train a language model to answer the listwise question in words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from malles_env.cli.fitting.align_names import NamesOption
from malles_env.cli.fitting.occasions import data_licence, load_occasions
from malles_env.cli.places import folder_option
from malles_env.errors import invalid

if TYPE_CHECKING:
    from malles_env.evaluation.metrics import Estimate
    from malles_env.preference.data.renamed import Names


def prompted_command(
    backbone: Annotated[str, typer.Option(help="embedded, smollm2, a local path or a hub id.")] = "embedded",
    prior: Annotated[float, typer.Option(help="Attention prior on price, discount and promotion, in nats.")] = 0.0,
    reference: Annotated[str, typer.Option(help="none, or base: scores relative to the untrained model.")] = "none",
    out: Annotated[Path, folder_option("Folder of the run; the model ends in OUT/model.")] = Path("runs/prompted"),
    steps: Annotated[int, typer.Option(help="Optimizer steps, at most.")] = 400,
    batch_size: Annotated[int, typer.Option(help="Occasions per step, about.")] = 32,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak rate; by default 0.005, and 0.001 for an adapter.")
    ] = None,
    occasions_limit: Annotated[int, typer.Option(help="Training occasions at most.")] = 10_000,
    test_limit: Annotated[int, typer.Option(help="Test occasions for the card; 0 leaves it without.")] = 1000,
    occasions: Annotated[
        Path | None,
        typer.Option(help="Folder of choice occasions; by default the Complete Journey, built once into the cache."),
    ] = None,
    market: Annotated[
        list[str] | None, typer.Option(help="A market; repeatable; default two with short shelves.")
    ] = None,
    validate_every: Annotated[int, typer.Option(help="Steps between validations and checkpoints.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of weights, data order and shelf orders.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    resume: Annotated[bool, typer.Option(help="Continue the run found in OUT.")] = True,
    protocol: Annotated[
        str,
        typer.Option(
            help="complete-journey, or online-retail: a wholesaler's log with real product names, cold, without its "
            "held-out categories and customers; `malles consumers evaluate --protocol online-retail` judges it."
        ),
    ] = "complete-journey",
    names: NamesOption = "true",
    shelf: Annotated[
        int, typer.Option(min=2, help="With online-retail: options of a training shelf, what was bought among them.")
    ] = 8,
) -> None:
    """Train a consumer that reads shelf and household as a prompt and answers with label probabilities."""
    from malles_env.evaluation.protocol import protocol as known_protocol
    from malles_env.preference.prompted.trainer import PromptConfig
    from malles_env.workflows.align_prompted import (
        LIMITS,
        SHORT_SHELVES,
        PromptJob,
        card_table,
        draw_named,
        draw_splits,
        judge_prompted,
        run_prompted,
    )

    rate = learning_rate or (5e-3 if backbone == "embedded" else 1e-3)
    config = PromptConfig(
        steps=steps,
        batch_size=batch_size,
        learning_rate=rate,
        warmup=10,
        validate_every=validate_every,
        seed=seed,
        threads=threads,
    )
    known_protocol(protocol)
    licence, limits = data_licence(occasions), LIMITS
    if protocol == "online-retail":
        for name, value in {"occasions": occasions, "market": market}.items():
            if value:
                raise invalid(name, value, "nothing with --protocol online-retail")
        if names not in ("true", "shuffled"):
            raise invalid("names", names, "true or shuffled (anonymous names have nothing to learn from)")
        from malles_env.evaluation.transfer.study import WordStudy
        from malles_env.workflows import align_names

        licence, limits = align_names.LICENCE, (*LIMITS[:1], *align_names.LIMITS)
        splits = draw_named(
            WordStudy.online_retail(), occasions_limit, names=cast("Names", names), shelf=shelf, seed=seed
        )
    else:
        splits = draw_splits(
            load_occasions(occasions), occasions_limit, markets=tuple(market or SHORT_SHELVES), test=max(test_limit, 1)
        )
    job = PromptJob(
        backbone,
        out,
        prior,
        reference,
        config,
        command=_command_line(),
        data_licence=licence,
        limits=limits,
        resume=resume,
    )
    model, progress = run_prompted(job, splits)
    if test_limit and splits.test is not None:
        scores = judge_prompted(model, splits.test)
        model.card["tables"] = {f"{len(splits.test)} test occasions": card_table({"prompted": scores})}
        model.save(out / "model")
        _show(scores)
    typer.echo(f"model {model.weights_hash[:12]} in {out / 'model'} (step {progress.best_step} of {progress.step})")
    typer.echo(f"curves: tensorboard --logdir {out}")
    if splits.test is None:
        typer.echo(f"next: malles consumers evaluate --protocol online-retail --rows prompted --prompted {out}")


def _show(scores: dict[str, Estimate]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("", "test", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, value in scores.items():
        table.add_row(name.replace("_", " "), str(value))
    console = Console()
    console.print(table)
    console.print("hit, top3, nll: given a purchase; nll all: outside option included; ± clusters households;")
    console.print("elasticity: of the own price, given a purchase; violations: answers that rise with the own price")


def _command_line() -> str:
    return " ".join(["malles", *sys.argv[1:]])
