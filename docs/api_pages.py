"""Writes the reference of the Python API: one page per module, split by class where a page would grow long."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from sphinx.pycode import ModuleAnalyzer

LONGEST = 130
"""Lines of docstrings and signatures that a page may hold; rendered they take up to twice as many."""
GROUPS = {
    "The front door": ["malles_env", "malles_env.errors", "malles_env.files"],
    "Environments": [
        "malles_env.envs", "malles_env.envs.play", "malles_env.envs.core.hooks", "malles_env.envs.core.named",
        "malles_env.envs.core.base_stock", "malles_env.envs.spaces.actions", "malles_env.envs.spaces.observations",
        "malles_env.envs.spaces.money_actions",
        "malles_env.envs.snapshot", "malles_env.envs.display.rendering",
    ],
    "The market": [
        "malles_env.market", "malles_env.market.demand.choice", "malles_env.market.demand.mean_field",
        "malles_env.market.demand.reference", "malles_env.market.demand.pantry", "malles_env.market.demand.surplus",
        "malles_env.market.seller_rules.price_rules",
        "malles_env.market.seller_rules.tiers",
    ],
    "Solvers": [
        "malles_env.market.solvers.game", "malles_env.market.solvers.equilibrium",
        "malles_env.market.solvers.closed_form", "malles_env.market.solvers.assortment",
        "malles_env.market.solvers.dynamic", "malles_env.market.solvers.mixture",
        "malles_env.market.solvers.metrics",
    ],
    "Scenarios": [
        "malles_env.scenarios", "malles_env.scenarios.fields", "malles_env.scenarios.blocks.entries",
        "malles_env.scenarios.blocks.seller_rules", "malles_env.scenarios.blocks.forces",
        "malles_env.scenarios.blocks.tiers", "malles_env.scenarios.blocks.live_model_config",
        "malles_env.scenarios.calendar", "malles_env.scenarios.adding", "malles_env.scenarios.from_log.build",
        "malles_env.scenarios.from_log.choices", "malles_env.scenarios.from_log.household_segments",
        "malles_env.scenarios.consumer_kinds.aligned", "malles_env.scenarios.consumer_kinds.prompted",
        "malles_env.scenarios.consumer_kinds.discussion", "malles_env.scenarios.gifts.build",
    ],
    "Consumers": [
        "malles_env.consumers", "malles_env.consumers.calibration", "malles_env.consumers.language",
        "malles_env.consumers.prompted", "malles_env.consumers.discussion", "malles_env.consumers.distil",
        "malles_env.consumers.injection", "malles_env.consumers.prompt_sanitizer",
    ],
    "Taste models": [
        "malles_env.preference", "malles_env.preference.prediction", "malles_env.preference.training.config",
        "malles_env.preference.training.trainer", "malles_env.preference.data.dataset",
        "malles_env.preference.encoder.backbones",
        "malles_env.preference.store.locate", "malles_env.preference.prompted",
    ],
    "Data": [
        "malles_env.data", "malles_env.data.log.schema", "malles_env.data.checks", "malles_env.data.exports",
        "malles_env.data.lookup", "malles_env.data.weekly", "malles_env.data.sources.lines",
    ],
    "Evaluation": [
        "malles_env.evaluation.metrics", "malles_env.evaluation.protocol", "malles_env.evaluation.comparison.runner",
        "malles_env.evaluation.comparison.registry", "malles_env.evaluation.comparison.study",
        "malles_env.evaluation.baselines.base", "malles_env.evaluation.baselines.shares",
        "malles_env.evaluation.baselines.logit", "malles_env.evaluation.audit", "malles_env.evaluation.experiments",
        "malles_env.evaluation.forces", "malles_env.evaluation.validate.runner",
        "malles_env.evaluation.transfer.word_model.model",
    ],
    "Workflows": [
        "malles_env.workflows.price_test", "malles_env.workflows.audit", "malles_env.workflows.align",
        "malles_env.workflows.calibration", "malles_env.workflows.distillation", "malles_env.workflows.elasticities",
        "malles_env.workflows.injection", "malles_env.workflows.backtest.runner",
    ],
    "Sellers": [
        "malles_agents.registry", "malles_agents.seller_view", "malles_agents.sellers.rules",
        "malles_agents.sellers.reactive", "malles_agents.sellers.remembering", "malles_agents.sellers.best_response",
        "malles_agents.sellers.oracles", "malles_agents.sellers.bandits", "malles_agents.sellers.assortment",
        "malles_agents.sellers.assortment_bandit", "malles_agents.sellers.calendar", "malles_agents.sellers.language",
        "malles_agents.sellers.sb3.policies", "malles_agents.sellers.sb3.single_choice",
        "malles_agents.sellers.tabular", "malles_agents.sellers.tabular.analysis",
    ],
    "Training and comparing sellers": [
        "malles_agents.training.train", "malles_agents.evaluation.evaluate", "malles_agents.evaluation.comparison",
        "malles_agents.evaluation.draws", "malles_agents.studies.tournament", "malles_agents.studies.deep_rl",
        "malles_agents.studies.dynamic", "malles_agents.planning.search", "malles_agents.planning.path_search",
        "malles_agents.planning.hidden_draws", "malles_agents.planning.exact_stock", "malles_agents.logged.log",
        "malles_agents.logged.recorder", "malles_agents.logged.estimators", "malles_agents.logged.evaluation",
        "malles_agents.logged.minari_sets", "malles_agents.reproduce.base",
    ],
}  # fmt: skip
"""What a reader of the guide imports, by topic; a name is documented once, under the first path that has it."""
ALIASES = {name: f"malles_env.market.arrays.{name}" for name in ("FloatArray", "IntArray", "BoolArray")}


def api_pages() -> dict[str, str]:
    """Return the pages by file name, in reStructuredText."""
    pages: dict[str, str] = {}
    seen: dict[int, str] = {}
    topics = []
    for group, modules in GROUPS.items():
        rows, files = [], []
        for name in modules:
            module = import_module(name)
            made = dict(_module_pages(module, list(_members(module, seen))))
            pages.update(made)
            files += [file.removesuffix(".rst") for file in made]
            rows.append((f":doc:`{name} <{name}>`", _first_line(module)))
        slug = group.lower().replace(" ", "-")
        pages[f"{slug}.rst"] = "\n".join([*_title(group), *_table(("module", "what is in it"), rows), *_toctree(files)])
        topics.append((f":doc:`{group} <{slug}>`", ", ".join(modules)))
    pages["malles_env.market.arrays.rst"] = _arrays_page()
    head = [*_title("Python"), "By topic; every page names its module, and types stand in the signatures.", ""]
    slugs = [group.lower().replace(" ", "-") for group in GROUPS]
    pages["index.rst"] = "\n".join([*head, *_table(("topic", "modules"), topics), *_toctree(slugs)])
    return {name: text.rstrip() + "\n" for name, text in pages.items()}


def _members(module: ModuleType, seen: dict[int, str]) -> Iterator[tuple[str, Any, str]]:
    """Yield the names a module has, the objects, and the path each is documented under.

    The names are those of ``__all__``, else those the module defines, in their order.
    """
    names = getattr(module, "__all__", None)
    if names is None:
        analyzer = ModuleAnalyzer.for_module(module.__name__)
        analyzer.analyze()
        documented = {name for scope, name in analyzer.attr_docs if not scope}
        order = sorted(analyzer.tagorder, key=analyzer.tagorder.__getitem__)
        names = [n for n in order if "." not in n and not n.startswith("_") and hasattr(module, n)]
        names = [
            n for n in names if n in documented or getattr(getattr(module, n), "__module__", "") == module.__name__
        ]
    for name in names:
        member, path = getattr(module, name), f"{module.__name__}.{name}"
        if not name.startswith("_"):
            once = inspect.isclass(member) or inspect.isroutine(member)
            yield name, member, seen.setdefault(id(member), path) if once else path


def _module_pages(module: ModuleType, members: list[tuple[str, Any, str]]) -> Iterator[tuple[str, str]]:
    """Yield file names and texts: the module's page first, then one for each name that does not fit on it."""
    own = {name: member for name, member, path in members if path == f"{module.__name__}.{name}"}
    sizes = {name: _size(member) for name, member in own.items()}
    apart: list[str] = []
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if sum(sizes[n] for n in own if n not in apart) > LONGEST and len(apart) < len(own) - 1:
            apart.append(name)
    lines = [*_title(module.__name__), f".. automodule:: {module.__name__}", "   :no-members:", ""]
    for name, member in own.items():
        if name not in apart:
            lines += _directive(module, name, member)
    links = [f":doc:`{name} <{module.__name__}.{name}>`" for name in own if name in apart]
    lines += [f"On pages of their own: {', '.join(links)}.", ""] if links else []
    others = [f":py:obj:`{name} <{path}>`" for name, _, path in members if path != f"{module.__name__}.{name}"]
    lines += [f"Also importable from here: {', '.join(others)}.", ""] if others else []
    yield f"{module.__name__}.rst", "\n".join(lines)
    for name in apart:
        text = [*_title(name), f"In :doc:`{module.__name__} <{module.__name__}>`.", ""]
        yield f"{module.__name__}.{name}.rst", "\n".join([*text, *_directive(module, name, own[name])])


def _title(text: str) -> list[str]:
    return [text, "=" * len(text), ""]


def _table(header: tuple[str, str], rows: list[tuple[str, str]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for left, right in [header, *rows]:
        lines += [f"   * - {left}", f"     - {right}"]
    return [*lines, ""]


def _toctree(files: list[str]) -> list[str]:
    return [".. toctree::", "   :hidden:", "", *(f"   {file}" for file in files)]


def _directive(module: ModuleType, name: str, member: Any) -> list[str]:
    if inspect.isclass(member):
        kind = "autoexception" if issubclass(member, BaseException) else "autoclass"
        return [f".. {kind}:: {module.__name__}.{name}", "   :members:", ""]
    kind = "autofunction" if inspect.isroutine(member) else "autodata"
    return [f".. {kind}:: {module.__name__}.{name}", *(["   :no-value:"] if kind == "autodata" else []), ""]


def _size(member: Any) -> int:
    """Return about how many lines a member takes."""
    if not (inspect.isclass(member) or inspect.isroutine(member)):
        return 4
    lines = 4 + len((inspect.getdoc(member) or "").splitlines()) + _signature_lines(member)
    if inspect.isclass(member):
        for name, value in vars(member).items():
            inner = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if not name.startswith("_") and (inspect.isroutine(inner) and inner.__doc__):
                lines += 3 + len(inspect.getdoc(inner).splitlines()) + _signature_lines(inner)
    return lines


def _signature_lines(member: Any) -> int:
    try:
        parameters = inspect.signature(member).parameters
    except (TypeError, ValueError):
        return 1
    return len(parameters) + 1 if len(parameters) > 3 else 1


def _first_line(module: ModuleType) -> str:
    return (inspect.getdoc(module) or "").split("\n", 1)[0]


def _arrays_page() -> str:
    lines = [":orphan:", "", *_title("Array types"), ".. py:module:: malles_env.market.arrays", ""]
    for name, kind in (("FloatArray", "float64"), ("IntArray", "int64"), ("BoolArray", "bool")):
        text = f"   An :class:`numpy.ndarray` of ``{kind}``; its shape stands where it is used."
        lines += [f".. py:data:: {name}", "", text, ""]
    return "\n".join(lines)
