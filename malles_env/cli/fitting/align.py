"""`malles align` trains a taste model on choice occasions."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from malles_env.cli.fitting.align_names import NamesOption
from malles_env.cli.fitting.occasions import OccasionsOption, data_licence, load_occasions, reading_progress
from malles_env.cli.places import folder_option

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions

Settings = TypeVar("Settings", bound=Any)
consumers_app = typer.Typer(help="Consumers: how well they stand in for households.", no_args_is_help=True)

Training = Literal["all", "seen"]


@consumers_app.callback()
def _consumers() -> None:
    """Consumers: how well they stand in for households."""


def align_command(
    backbone: Annotated[str, typer.Option(help="embedded, smollm2, a local path or a hub id.")] = "embedded",
    out: Annotated[Path, folder_option("Folder of the run; the model ends in OUT/model.")] = Path("runs/align"),
    occasions: OccasionsOption = None,
    train_on: Annotated[
        Training, typer.Option(help="seen leaves out the protocol's held-out categories and households.")
    ] = "all",
    start_from: Annotated[
        str | None, typer.Option(help="Take the backbone (and adapter) of this taste model as it is.")
    ] = None,
    continue_heads: Annotated[
        bool, typer.Option("--continue-heads", help="Train on the heads of that model too, instead of new ones.")
    ] = False,
    rank: Annotated[
        int,
        typer.Option(
            help="Rank of the LoRA adapter of a pre-trained backbone; 0: none, and with online-retail a frozen encoder."
        ),
    ] = 8,
    layers: Annotated[int | None, typer.Option(help="Last layers that get an adapter; by default 10.")] = None,
    members: Annotated[int, typer.Option(help="Heads whose coefficients are averaged.")] = 2,
    steps: Annotated[int | None, typer.Option(help="Steps of backbone and heads together, at most.")] = None,
    head_steps: Annotated[int | None, typer.Option(help="Steps of the heads alone, at most.")] = None,
    cold_steps: Annotated[int | None, typer.Option(help="Steps of the heads for cold starts, at most.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Occasions per step.")] = None,
    consistency: Annotated[float | None, typer.Option(help="Weight of the consistency term over wordings.")] = None,
    limit: Annotated[int | None, typer.Option(help="Training occasions at most; by default all.")] = None,
    households: Annotated[bool, typer.Option(help="Learn each household of the log by name.")] = True,
    outside: Annotated[float, typer.Option(help="Share of the no-purchase visits trained on.")] = 0.5,
    validate_every: Annotated[int | None, typer.Option(help="Steps between validations and checkpoints.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights and data order.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    device: Annotated[str, typer.Option(help="auto takes a GPU when there is one; or cpu, cuda.")] = "auto",
    resume: Annotated[bool, typer.Option(help="Continue the run found in OUT.")] = True,
    protocol: Annotated[
        str,
        typer.Option(
            help="complete-journey, or online-retail: a wholesaler's log with real product names, which an encoder "
            "(minilm by default) learns to compare."
        ),
    ] = "complete-journey",
    names: NamesOption = "true",
) -> None:
    """Post-train a language model on choice occasions; a killed run continues from its last checkpoint."""
    from malles_env.evaluation.protocol import protocol as known_protocol

    known_protocol(protocol)
    if protocol == "online-retail":
        from malles_env.cli.fitting.align_names import align_words

        refused = {
            "occasions": occasions,
            "start-from": start_from,
            "consistency": consistency,
            "limit": limit,
            "layers": layers,
            "steps": steps,
            "head-steps": head_steps,
            "cold-steps": cold_steps,
            "batch-size": batch_size,
            "validate-every": validate_every,
        }
        align_words(backbone, out, names, rank, seed, threads, resume=resume, refused=refused)
        return
    from malles_env.preference.training.config import COLD, CONTINUED, HEADS, WHOLE_ADAPTER, WHOLE_EMBEDDED, AlignJob
    from malles_env.workflows.align import run_job

    common = {"seed": seed, "threads": threads, "validate_every": validate_every, "batch_size": batch_size}
    whole = WHOLE_EMBEDDED if backbone == "embedded" else WHOLE_ADAPTER
    heads = _changed(CONTINUED if continue_heads else HEADS, steps=head_steps, device=device, **common)
    job = AlignJob(
        backbone=backbone,
        out=out,
        start_from=start_from,
        continue_heads=continue_heads,
        rank=rank,
        layers=10 if layers is None else layers,
        members=members,
        households=households,
        outside=outside,
        limit=limit,
        whole=_changed(whole, steps=steps, device=device, **common),
        heads=replace(heads, weights=_changed(heads.weights, consistency=consistency)),
        cold=_changed(COLD, steps=cold_steps, device=device, **common),
        command=" ".join(["malles", *sys.argv[1:]]),
        data_licence=data_licence(occasions),
        resume=resume,
    )
    train, validation = _parts(load_occasions(occasions), train_on)
    model, progress = run_job(job, train, validation, reading=reading_progress())
    typer.echo(f"model {model.weights_hash[:12]} in {out / 'model'} (heads: step {progress.best_step})")
    typer.echo(f"curves: tensorboard --logdir {out}")
    log = [] if occasions is None else ["--occasions", str(occasions)]
    typer.echo(f"next: {shlex.join(['malles', 'consumers', 'evaluate', '--model', str(out), *log])}")


def _parts(occasions: Occasions, train_on: Training) -> tuple[Occasions, Occasions]:
    """Return training and validation occasions; nothing held out is in either when only what is seen counts."""
    import numpy as np

    from malles_env.evaluation.protocol import split_rows

    rows = split_rows(occasions, "time" if train_on == "all" else "unseen_warm")
    # Who never bought in a market before has no no-purchase visits there: their incidence would be biased.
    known = occasions.occasions["buyer"].to_numpy()
    return occasions.rows(np.flatnonzero(rows.train)), occasions.rows(np.flatnonzero(rows.validation & known))


def _changed(settings: Settings, **given: float | str | None) -> Settings:
    """Return dataclass settings with the options that were given."""
    return replace(settings, **{name: value for name, value in given.items() if value is not None})
