"""Who is asked in a distillation, and the scenario that comes of it: tastes that stand in its file."""

from __future__ import annotations

from dataclasses import dataclass

from malles_env.consumers.distil import Distilled
from malles_env.consumers.distil.report import coefficients, notes
from malles_env.errors import check_choice, invalid
from malles_env.market import Consumers
from malles_env.scenarios import load_scenario
from malles_env.scenarios.blocks.entries import LogitEntry, TastesEntry
from malles_env.scenarios.schema import Scenario

WHO = ("scenario", "prompted", "aligned-prompted", "discussion")


@dataclass(frozen=True)
class AskedConsumers:
    """Consumers by what makes them, so that other processes can make the same.

    Attributes:
        scenario: Name or path of the market.
        kind: ``scenario``, ``prompted``, ``aligned-prompted`` or ``discussion``.
        model: Taste model, language model or folder of a trained one instead of the scenario's own.
        how: Names and values of fields of the kind's entry, see `malles_env.scenarios.blocks.live_model_config`.

    Raises:
        InvalidInput: No such kind, or a trained model without its folder.
    """

    scenario: str
    kind: str = "scenario"
    model: str | None = None
    how: tuple[tuple[str, object], ...] = ()

    def __post_init__(self) -> None:
        """Check the kind."""
        check_choice("consumers", self.kind, WHO)
        if self.kind == "aligned-prompted" and self.model is None:
            raise invalid("model", None, "the folder that `malles align-prompted --out FOLDER` made")

    def __call__(self) -> Consumers:
        """Return the consumers.

        Raises:
            InvalidInput: A field that the kind does not have.
            MissingResource: The model is not there.
        """
        scenario = self.applied()
        return scenario.build_consumers(self.model) if self.kind == "scenario" else scenario.build_consumers()

    def applied(self) -> Scenario:
        """Return the scenario with these consumers in it."""
        from malles_env.scenarios.consumer_kinds.aligned_prompted import with_aligned_prompted
        from malles_env.scenarios.consumer_kinds.discussion import with_discussion
        from malles_env.scenarios.consumer_kinds.prompted import with_prompted

        loaded = load_scenario(self.scenario)
        if self.kind == "scenario":
            return loaded
        if self.kind == "aligned-prompted":
            return with_aligned_prompted(loaded, str(self.model), **dict(self.how))
        fields = dict(self.how) | ({} if self.model is None else {"model": self.model})
        return with_prompted(loaded, **fields) if self.kind == "prompted" else with_discussion(loaded, **fields)

    def words(self) -> str:
        """Return who they are."""
        entry = self.applied().consumers
        if self.kind == "scenario":
            reader = self.model or getattr(entry, "model", None)
            return f"the scenario's {entry.kind} consumers" + (f", {reader}" if reader else "")
        how_asked = {"discussion": "in discussion", "aligned-prompted": "trained on purchases, asked live"}
        return f"the language model {getattr(entry, 'model', '')}, {how_asked.get(self.kind, 'asked live')}"


def distilled_scenario(scenario: Scenario, found: Distilled, *, asked: str, command: str) -> Scenario:
    """Return a copy of the scenario in which the fitted consumers buy.

    Args:
        scenario: The market the consumers were asked in.
        found: The fit.
        asked: Who was asked, in words.
        command: What made the file.
    """
    tastes = TastesEntry(**coefficients(found.tastes))
    return scenario.model_copy(
        update={
            "consumers": LogitEntry(kind="logit", tastes=tastes),
            "made_by": command,
            "notes": (*scenario.notes, *notes(found, asked)),
        }
    )
