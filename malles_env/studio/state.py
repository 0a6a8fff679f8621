"""What a visitor has open, and what visitors may share because it never changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from malles_agents.planning.search import Stationary
from malles_env.errors import MallesError, missing_extra, what_failed
from malles_env.studio.folders import Folder
from malles_env.studio.logic.market import World, open_world
from malles_env.studio.logic.play import HandPlay, best_constant
from malles_env.studio.logic.what_if import drawn_tastes
from malles_env.studio.settings import chosen

if TYPE_CHECKING:
    from malles_agents.evaluation.evaluate import Played
    from malles_env.data.exports import Imported
    from malles_env.market import Tastes
    from malles_env.studio.logic.compare import Question

KEPT = 32
"""Markets that the cache holds; whoever comes back to an older one waits for it again."""


@dataclass
class Session:
    """One visitor's studio; nobody else's pages read it.

    Attributes:
        folder: Where this visitor's uploads are written.
        source: Name or path of the market that is open.
        model: Who reads its tastes; None: its own.
        agent: Whose products are sold by hand.
        own: Scenarios built from this visitor's logs.
        just_built: Whether the market that is open was built just now, so that the side has yet to show it.
        rivals: Kinds of rivals that were chosen, by agent.
        seed: Of the episode.
        play: The episode under way.
        files: Uploaded files of the log in hand.
        imported: That log, once it was read.
        answer: What was compared last, and what came out.
    """

    folder: Folder
    source: str
    model: str | None = None
    agent: str = "seller_0"
    own: list[Path] = field(default_factory=list)
    just_built: bool = False
    rivals: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    play: HandPlay | None = None
    files: list[Path] = field(default_factory=list)
    imported: Imported | None = None
    answer: tuple[World, Question, dict[str, Played]] | None = None

    def open(self, source: str, model: str | None) -> None:
        """Open another market or taste model; the episode under way ends."""
        if (source, model) != (self.source, self.model):
            if source != self.source:
                self.agent, self.rivals = "seller_0", {}
            self.source, self.model, self.play = source, model, None


def session() -> Session:
    """Return this visitor's studio."""
    if "studio" not in st.session_state:
        settings = chosen()
        st.session_state["studio"] = Session(Folder(settings.out, settings.upload * 2**20), settings.scenario)
    found: Session = st.session_state["studio"]
    return found


def world() -> World:
    """Return the market that is open."""
    now = session()
    return _world(now.source, _stamp(now.source), now.model)


def best_known(agent: str, rivals: Mapping[str, str]) -> Stationary:
    """Return the best constant action in the market that is open, against these rivals."""
    now = session()
    return _best(now.source, _stamp(now.source), now.model, agent, tuple(sorted(rivals.items())))


def drawn() -> tuple[Tastes, ...]:
    """Return the draws of the tastes in the market that is open."""
    now = session()
    return _drawn(now.source, _stamp(now.source), now.model)


def _stamp(source: str) -> int:
    """Return when a scenario's file was written last; 0 for bundled ones."""
    path = Path(source)
    return path.stat().st_mtime_ns if path.suffix in (".yaml", ".yml") and path.is_file() else 0


@st.cache_resource(max_entries=KEPT, show_spinner="opening the market")
def _world(source: str, stamp: int, model: str | None) -> World:
    return open_world(source, model)


@st.cache_resource(max_entries=KEPT, show_spinner="searching for the best constant prices")
def _best(source: str, stamp: int, model: str | None, agent: str, rivals: tuple[tuple[str, str], ...]) -> Stationary:
    return best_constant(_world(source, stamp, model), agent, dict(rivals))


@st.cache_resource(max_entries=KEPT, show_spinner="reading the draws of the tastes (the first time: half a minute)")
def _drawn(source: str, stamp: int, model: str | None) -> tuple[Tastes, ...]:
    return drawn_tastes(_world(source, stamp, model))


def in_one_line(error: BaseException) -> str | None:
    """Return what a visitor should read of an error; None where it is a fault of this package."""
    if isinstance(error, MallesError):
        return " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError):
        return missing_extra(error.name or "")
    return what_failed(error) if isinstance(error, OSError) else None


@contextmanager
def readable() -> Iterator[None]:
    """Show what ends this block as one readable line; faults of this package go on as they are."""
    try:
        yield
    except Exception as error:  # what is not meant for visitors is raised again
        message = in_one_line(error)
        if message is None:
            raise
        st.error(plain(message))


def plain(text: Any) -> str:
    """Return a text so that Markdown shows it as it stands."""
    marks = "\\`*_{}[]()<>#+-!|$~:"
    return "".join(f"\\{mark}" if mark in marks else mark for mark in str(text))
