"""A training run on disk: checkpoints that survive a kill, and curves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from malles_env.errors import CorruptFile, InvalidInput, brief
from malles_env.files import new_directory, read_json_object, write_json
from malles_env.preference.storage import read_tensors, write_tensors

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

KEPT = 2
"""Checkpoints kept besides the best one."""


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: Optimizer steps done.
        epoch: Current epoch, from 0.
        batch: Batches of it already used.
        best: Best validation loss so far, in nats.
        best_step: The step it was reached at.
        waited: Validations since.
        seconds: Training time of all sittings.
        history: One entry per validation.
        settings: Settings the run was started with; a resume must bring the same.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float = float("inf")
    best_step: int = -1
    waited: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


class RunStore:
    """Checkpoints of one run, each a folder that appears whole or not at all."""

    def __init__(self, directory: Path) -> None:
        """Open (or begin) the checkpoints under `directory`."""
        self.directory = directory

    def save(self, modules: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        """Write a checkpoint of the current step and drop the oldest ones."""
        with new_directory(self.directory / f"step-{progress.step:07d}") as target:
            write_tensors(target / "weights.safetensors", modules.state_dict())
            write_tensors(target / "optimizer.safetensors", _flatten(optimizer))
            write_json(target / "progress.json", asdict(progress), sort_keys=True)
        keep = set(self._steps()[-KEPT:])
        for path in self._steps():
            if path not in keep:
                shutil.rmtree(path, ignore_errors=True)

    def save_best(self, modules: nn.Module, step: int) -> None:
        """Keep the weights of the best step so far."""
        with new_directory(self.directory / f"best-{step:07d}") as target:
            write_tensors(target / "weights.safetensors", modules.state_dict())

    def load_best(self, modules: nn.Module, step: int) -> None:
        """Put the weights of the best step into `modules`."""
        modules.load_state_dict(read_tensors(self.directory / f"best-{step:07d}" / "weights.safetensors"))

    def latest(self) -> Path | None:
        """Return the newest whole checkpoint."""
        steps = self._steps()
        return steps[-1] if steps else None

    def restore(self, modules: nn.Module, optimizer: torch.optim.Optimizer, settings: dict[str, Any]) -> Progress:
        """Load the newest checkpoint; without one, return a fresh start.

        Raises:
            InvalidInput: The run was started with other settings.
            CorruptFile: The checkpoint is damaged; the message names the file.
        """
        path = self.latest()
        if path is None:
            return Progress(settings=settings)
        note = read_json_object(path / "progress.json")
        try:
            progress = Progress(**note)
        except TypeError as error:
            raise CorruptFile(f"{path / 'progress.json'}: not a run's progress ({brief(error)})") from error
        changed = [name for name in settings if settings[name] != progress.settings.get(name)]
        if changed:
            raise InvalidInput(
                f"{path}: the run was started with {_named(progress.settings, changed)}, now asked to resume "
                f"with {_named(settings, changed)}; use the same settings or another --out"
            )
        try:
            modules.load_state_dict(read_tensors(path / "weights.safetensors"))
            _unflatten(optimizer, read_tensors(path / "optimizer.safetensors"))
        except (RuntimeError, ValueError, KeyError) as error:
            raise CorruptFile(f"{path}: does not fit this run ({brief(error)}); delete that folder") from error
        self._drop_later_bests(progress.best_step)
        return progress

    def prune_bests(self, step: int) -> None:
        """Drop best weights older than those of `step`; call once a checkpoint refers to them."""
        for path in self.directory.glob("best-*"):
            if path.name < f"best-{step:07d}":
                shutil.rmtree(path, ignore_errors=True)

    def _drop_later_bests(self, step: int) -> None:
        for path in self.directory.glob("best-*"):
            if path.name > f"best-{max(step, 0):07d}":
                shutil.rmtree(path, ignore_errors=True)

    def _steps(self) -> list[Path]:
        return sorted(self.directory.glob("step-*"))


class Curves:
    """TensorBoard curves of a run."""

    def __init__(self, directory: Path, step: int) -> None:
        """Open the log; on resume, what was logged after `step` is dropped."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory), purge_step=step if step else None)

    def add(self, values: dict[str, float], step: int, group: str) -> None:
        """Log values of a step under `group`."""
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def __enter__(self) -> Curves:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left and close."""
        self._writer.close()


def _flatten(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{index}/{name}": torch.as_tensor(value) for index, part in state.items() for name, value in part.items()}


def _unflatten(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    whole = optimizer.state_dict()
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        index, part = name.split("/", 1)
        state.setdefault(int(index), {})[part] = value
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})


def _named(settings: dict[str, Any], names: list[str]) -> str:
    return ", ".join(f"{name}={settings.get(name)!r}" for name in names)


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads for the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def progress_bar(show: bool) -> Iterator[Bar]:
    """Yield a bar with a note behind it, hidden unless `show`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, disable=not show) as bar:
        yield bar
