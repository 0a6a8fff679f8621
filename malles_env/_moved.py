"""Old places of modules and old names in them, kept for one version: using one warns and gives what took its place.

The lists of what moved are `PLACES`, `PACKAGES` and `NAMES`; `malles_env` and `malles_agents` install the
finder when they are imported.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PLACES = {
    "malles_agents": {
        "malles_agents": "seat=seller_view",
    },
    "malles_agents.evaluation": {
        "malles_agents": "comparison draws evaluate report",
    },
    "malles_agents.planning": {
        "malles_agents": "common_random exact_stock hidden_draws path_search paths search",
    },
    "malles_agents.sellers": {
        "malles_agents": (
            "assortment_bandit bandits best_response calendar_seller=calendar language_seller=language "
            "least_squares oracles reactive remembering rules"
        ),
    },
    "malles_agents.sellers.sb3": {
        "malles_agents": "policies single_choice stored",
    },
    "malles_agents.sellers.tabular": {
        "malles_agents.tabular": "analysis kernel market sessions",
    },
    "malles_agents.studies": {
        "malles_agents": (
            "calendar_shape dynamic_parts dynamic_report dynamic_study=dynamic leaderboard learned_share "
            "study=deep_rl study_report=deep_rl_report tournament"
        ),
    },
    "malles_agents.training": {
        "malles_agents": "callbacks interruption run_state train",
    },
    "malles_env.consumers": {
        "malles_env.consumers": "fence=prompt_sanitizer",
    },
    "malles_env.consumers.language.inference": {
        "malles_env.consumers.language": (
            "cascade=prefix_attention generation kept=kv_cache loading sharing=prefix_sharing"
        ),
    },
    "malles_env.consumers.language.serving": {
        "malles_env.consumers.language": "addresses decisions line=server_client logprobs replies",
    },
    "malles_env.consumers.prompted": {
        "malles_env.consumers.prompted": "asking=questions",
    },
    "malles_env.data.building": {
        "malles_env.data": "assemble build dropped elsewhere history prices shelf visits",
    },
    "malles_env.data.checks": {
        "malles_env.data.importer": "agreement alternatives check clock mistyped period report settings shelves",
    },
    "malles_env.data.exports.cleaning": {
        "malles_env.data.exports": "notes products rules trips typed whole",
    },
    "malles_env.data.exports.reading": {
        "malles_env.data.exports": "columns files joins names",
    },
    "malles_env.data.log": {
        "malles_env.data": "readers schema tables validation",
    },
    "malles_env.data.parsing": {
        "malles_env.data": "dates dialect numbers packages",
    },
    "malles_env.data.sources": {
        "malles_env.data": "complete_journey lines prepare synthetic synthetic_truth",
    },
    "malles_env.data.sources.gifts": {
        "malles_env.data.gifts": (
            "build catalogue categories cleaning history launches prepare prices reading shelves"
        ),
    },
    "malles_env.envs.core": {
        "malles_env.envs": "arena=market_batch base_stock batch=vector_core named rivals",
    },
    "malles_env.envs.display": {
        "malles_env.envs": "recording rendering",
    },
    "malles_env.envs.spaces": {
        "malles_env.envs": (
            "action_spaces actions kernels money_actions observations price_rules seats=slot_layout tiers"
        ),
    },
    "malles_env.evaluation": {
        "malles_env.alignment": "evaluation=metrics protocol",
        "malles_env.alignment.prompted": "response=prompted_response",
    },
    "malles_env.evaluation.audit": {
        "malles_env.alignment.audit": "finding plots references report runner states subject twins",
    },
    "malles_env.evaluation.audit.checks": {
        "malles_env.alignment.audit": "budget elasticity estimates invariance prices rationality",
    },
    "malles_env.evaluation.baselines": {
        "malles_env.alignment.rows": (
            "base boosted fitting incidence logit mixed network=deep_sets set_network shares table units"
        ),
    },
    "malles_env.evaluation.comparison": {
        "malles_env.alignment.rows": (
            "answers breakdown comparison=runner plain=results_json registry report stability store study"
        ),
    },
    "malles_env.evaluation.forces": {
        "malles_env.alignment.forces": "choice estimates estimation likelihood log pantry report seasons",
    },
    "malles_env.evaluation.transfer": {
        "malles_env.alignment.transfer": "comparison launches rows study word_logit",
    },
    "malles_env.evaluation.validate.estimation": {
        "malles_env.evaluation.validate": "estimates likelihood linear",
    },
    "malles_env.jobs": {
        "malles_agents": "spread=processes parallel_jobs=processes",
    },
    "malles_env.market": {
        "malles_env.market": "asking=generic_step",
    },
    "malles_env.market.demand": {
        "malles_env.market": "choice dynamics mean_field pantry reference surplus",
    },
    "malles_env.market.kernels": {
        "malles_env.market": (
            "compiled=dispatch kernel=response_kernel lanes=simd_math ordering sampling settle=period_kernel "
            "tier_kernel=tier_response_kernel tier_settle=tier_period_kernel"
        ),
    },
    "malles_env.market.seller_rules": {
        "malles_env.market": "price_rules promotion replenishment tiers",
    },
    "malles_env.market.solvers": {
        "malles_env.market": "ascent assortment closed_form dynamic elasticity equilibrium game metrics",
    },
    "malles_env.preference": {
        "malles_env.alignment": "model prediction promotion_worth reading=persona_coefficients storage",
    },
    "malles_env.preference.data": {
        "malles_env.alignment": (
            "asked dataset facts=features packing personas price_lags renamed rewording shelves subsets text"
        ),
    },
    "malles_env.preference.encoder": {
        "malles_env.alignment": "adapters backbones reader=encoder readings=embeddings",
    },
    "malles_env.preference.heads": {
        "malles_env.alignment": (
            "bounds coefficients ensemble heads=taste_heads history inputs kinship layers losses objective quantities"
        ),
    },
    "malles_env.preference.prompted": {
        "malles_env.alignment.prompted": (
            "data labels losses model packing prompt questions reference store trainer words"
        ),
    },
    "malles_env.preference.store": {
        "malles_env.alignment": "card checkpoint locate",
    },
    "malles_env.preference.training": {
        "malles_env.alignment": "config continued market_likelihood market_prices=market_terms runs trainer",
    },
    "malles_env.scenarios.blocks": {
        "malles_env.scenarios": (
            "asked_entries=live_model_config entries forces_entries=forces seller_entries=seller_rules "
            "tier_entries=tiers"
        ),
    },
    "malles_env.scenarios.consumer_kinds": {
        "malles_env.scenarios": "asking=model_factory discussing=discussion prompting=prompted reading=aligned",
    },
    "malles_env.scenarios.from_log": {
        "malles_env.scenarios": (
            "build clusters makers panel provenance segments twin_shelves=household_shelves twins=household_segments"
        ),
    },
    "malles_env.workflows": {
        "malles_env.alignment": "workflow=align",
        "malles_env.alignment.prompted": "workflow=align_prompted",
        "malles_env.alignment.transfer": "workflow=align_names",
        "malles_env.scenarios": (
            "auditing=audit calibrating=calibration distilling=distillation elasticity_report=elasticities "
            "experimenting=price_test injection visits=calibration_visits"
        ),
    },
    "malles_env.workflows.backtest": {
        "malles_env.scenarios": ("backtest=runner backtest_report=report backtest_scores=scores logit_twins playback"),
    },
}
"""New package -> old package: names of modules in it, ``old=new`` where the name changed too."""
PACKAGES = {
    "malles_agents.settings": "malles_agents.training.settings",
    "malles_agents.tabular": "malles_agents.sellers.tabular",
    "malles_env.alignment": "malles_env.preference",
    "malles_env.alignment.audit": "malles_env.evaluation.audit",
    "malles_env.alignment.forces": "malles_env.evaluation.forces",
    "malles_env.alignment.prompted": "malles_env.preference.prompted",
    "malles_env.alignment.rows": "malles_env.evaluation.baselines",
    "malles_env.alignment.transfer": "malles_env.evaluation.transfer",
    "malles_env.data.gifts": "malles_env.data.sources.gifts",
    "malles_env.data.importer": "malles_env.data.checks",
}
"""Old package -> the package that took its place."""

NAMES = {
    "malles_env.envs.core.market_batch": "Arena=MarketBatch",
    "malles_env.envs.core.vector_core": "Batch=VectorCore",
    "malles_env.envs.spaces.slot_layout": "Seats=SlotLayout",
    "malles_env.preference.data.shelves": "Goods=ProductTable",
    "malles_env.preference.data.features": (
        "Facts=Features facts=features OPTION_FACTS=OPTION_FEATURES LIVE_FACTS=LIVE_FEATURES "
        "SHELF_FACTS=SHELF_FEATURES QUANTITY_FACTS=QUANTITY_FEATURES"
    ),
    "malles_env.consumers.aligned": "Asked=TasteQuestion",
    "malles_env.consumers.prompted": "Asked=VisitAnswers Line=ShelfLine",
    "malles_env.consumers.language.serving.server_client": "Line=ServerClient",
    "malles_env.scenarios.from_log.household_segments": "Ground=TwinDataset",
    "malles_env.scenarios.consumer_kinds.discussion": "entered_consumers=discussion_from_entry",
    "malles_env.scenarios.consumer_kinds.prompted": "usual_offer=opening_offer",
    "malles_env.scenarios.blocks.live_model_config": "AskedEntry=LiveModelEntry",
    "malles_agents.seller_view": "Seat=SellerView",
    "malles_agents.sellers.oracles": "Line=PriceIndex",
}
"""Module -> names in it that changed, ``old=new``."""


@cache
def moved() -> dict[str, str]:
    """Return old name -> new name of every module that is still found at its old place."""
    found = dict(PACKAGES)
    for new, homes in PLACES.items():
        for old, names in homes.items():
            for name in names.split():
                before, _, after = name.partition("=")
                found[f"{old}.{before}"] = f"{new}.{after or before}"
    return found


def old_names(module: str) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that gives its renamed names by their old ones, with a warning.

    Args:
        module: Its name, a key of `NAMES`.
    """
    renamed = dict(pair.split("=") for pair in NAMES[module].split())

    def find(name: str) -> Any:
        if name not in renamed:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new = renamed[name]
        warnings.warn(
            f"{module}.{name} is now {new}; the old name goes with the next version", DeprecationWarning, stacklevel=2
        )
        return getattr(sys.modules[module], new)

    return find


class _MovedLoader(Loader):
    """Gives a module that is imported already under its new name."""

    def __init__(self, new: str) -> None:
        self._module = import_module(new)
        self._spec = self._module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has put that of the old name there


class _MovedFinder(MetaPathFinder):
    """Finds modules at their old places."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        new = moved().get(fullname) if fullname.startswith(("malles_env.", "malles_agents.")) else None
        if new is None:
            return None
        warnings.warn(
            f"{fullname} is now {new}; the old name goes with the next version", DeprecationWarning, stacklevel=2
        )
        return ModuleSpec(fullname, _MovedLoader(new), is_package=hasattr(import_module(new), "__path__"))


def install() -> None:
    """Let old places be found; a second call changes nothing."""
    if not any(type(finder).__name__ == _MovedFinder.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, _MovedFinder())
