"""What a distillation found: a table for people, all numbers as JSON, sentences for a scenario's notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.consumers.distil.experiment import Distilled, DistilSettings
from malles_env.consumers.distil.fidelity import AIM, Fidelity
from malles_env.market import Tastes

if TYPE_CHECKING:
    from rich.table import Table


def rows(found: Distilled) -> Iterator[tuple[str, str, str]]:
    """Yield what was measured, its value, and what to hold it against."""
    fidelity = found.fidelity
    if fidelity is not None:
        yield from _fidelity_rows(fidelity)
    yield "questions for the fit", f"{found.facts['questions']:,}", f"{found.facts['answers']:,} answers of segments"
    more = f"{found.facts['taken_from_file']:,} of them from the file" if found.facts["taken_from_file"] else ""
    yield "questions in all", f"{found.facts['questions_in_all']:,}", more
    yield "time asking", f"{found.facts['seconds_asking']:.3g} s", ""
    usage = found.facts["usage"]
    if usage:
        tokens = f"{usage['prompt_tokens']:,.0f} tokens read, {usage['completion_tokens']:,.0f} written"
        yield "requests to the language model", f"{usage['requests']:,.0f}", tokens
        if usage["cost"]:
            yield "cost", f"{usage['cost']:.4g}", "at the prices the model was set up with"
    yield "prices enter as", found.fit.layout.transform, ""
    yield "strength of the prior, in answers", f"{found.fit.strength:g}", "chosen by cross-validation"
    if found.experiment.actively.any():
        yield "weight of chosen questions", f"{found.fit.chosen_weight:g}", "beside drawn ones, by cross-validation"
    yield "held-out divergence", f"{max(found.fit.loss, 0.0):.2g} nats", "per answer, of the questions asked"


def _fidelity_rows(fidelity: Fidelity) -> Iterator[tuple[str, str, str]]:
    median = f"{fidelity.median:.2g} ± {fidelity.median_se:.1g}"
    yield "total variation, median", median, f"aim: at most {AIM:g}; {fidelity.states} fresh states x segments"
    yield "total variation, 95th percentile", f"{fidelity.p95:.2g}", f"largest {fidelity.largest:.2g}"
    whole = f"{fidelity.population_median:.2g}, {fidelity.population_p95:.2g}"
    yield "the same, whole population", whole, "median, 95th percentile"
    yield "units sold, relative error", f"{fidelity.units_error:.2g}", "mean over fresh states and products"
    pairs = [(each.asked, each.fitted) for each in fidelity.elasticities]
    asked, fitted = (float(np.mean(side)) for side in zip(*pairs, strict=True))
    error = f"asked {asked:.3f} on average; mean difference {fidelity.elasticity_error:.2g}"
    yield "own-price elasticity, fitted", f"{fitted:.3f}", error
    law = f"asked {fidelity.violations_asked:.1%}"
    yield "law-of-demand violations, fitted", f"{fidelity.violations_fitted:.1%}", f"{law} of {fidelity.price_cases}"


def table(found: Distilled, title: str) -> Table:
    """Return the table for the terminal."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    shown = Table("measured", "value", "", title=escape(title), title_justify="left", box=box.SIMPLE_HEAD)
    for row in rows(found):
        shown.add_row(*(escape(cell) for cell in row))
    return shown


def as_json(found: Distilled, settings: DistilSettings, **about: Any) -> dict[str, Any]:
    """Return all numbers.

    Args:
        found: The result.
        settings: How it was asked.
        about: Further entries, e.g. scenario and command.
    """
    fidelity = None
    if found.fidelity is not None:
        fidelity = {**asdict(found.fidelity), "elasticity_error": found.fidelity.elasticity_error, "aim": AIM}
    return {
        **about,
        "settings": asdict(settings),
        "fidelity": fidelity,
        "fit": {
            "price_transform": found.fit.layout.transform,
            "strength": found.fit.strength,
            "chosen_weight": found.fit.chosen_weight,
            "held_out_nats": found.fit.loss,
        },
        "curve": [{"questions": count, "next_batch_median": value} for count, value in found.curve],
        "asked": found.facts,
        "tastes": coefficients(found.tastes),
    }


def coefficients(tastes: Tastes, digits: int = 6) -> dict[str, Any]:
    """Return the tastes as lists, as a scenario file holds them."""
    arrays = {part.name: getattr(tastes, part.name) for part in fields(tastes) if part.init}
    transform = arrays.pop("price_transform")
    lists = {name: _rounded(array, digits) for name, array in arrays.items()}
    return {**lists, "price_transform": transform}


def notes(found: Distilled, asked: str) -> tuple[str, ...]:
    """Return sentences for the notes of a scenario.

    Args:
        found: The result.
        asked: Who was asked, in words.
    """
    facts = found.facts
    first = f"Tastes fitted to {facts['questions']} questions put to {asked} ({facts['answers']} answers of segments)."
    fidelity = found.fidelity
    if fidelity is None:
        return (f"{first} Their fidelity was not measured.",)
    second = (
        f"Total variation to their choice probabilities on {fidelity.states} fresh states: median "
        f"{fidelity.median:.2g} ± {fidelity.median_se:.1g}, 95th percentile {fidelity.p95:.2g}; units sold differ by "
        f"{fidelity.units_error:.2g}, own-price elasticities by {fidelity.elasticity_error:.2g} on average. Of "
        f"{fidelity.price_cases} price rises those asked broke the law of demand in {fidelity.violations_asked:.1%}, "
        f"the fit in {fidelity.violations_fitted:.1%}."
    )
    return first, second


def _rounded(array: np.ndarray, digits: int) -> Any:
    """Return nested lists of rounded numbers."""
    if array.ndim == 0:
        return float(f"{float(array):.{digits}g}")
    return [_rounded(np.asarray(part), digits) for part in array]
