"""Test of the tastes behind consumers: no coefficient may stand at the bound of its estimation."""

from __future__ import annotations

from malles_env.evaluation.audit.finding import Chart, Finding, Series, not_applicable
from malles_env.evaluation.audit.subject import Subject
from malles_env.market import Tastes
from malles_env.preference.heads.bounds import BOUNDS, RHO_BOUND, at_bounds


def coefficients_at_bound(subject: Subject) -> Finding:
    """Count the segments whose tastes hold a coefficient at its bound; nobody is asked.

    Such a number is the bound's, not the data's: with rho at its bound, advice on prices rests on where the bound was
    put.

    Args:
        subject: Consumers with an attribute `tastes`; others cannot be tested.
    """
    name, measure = "coefficients at bound", "segments with a coefficient at the bound of its estimation"
    bound = "none"
    tastes = getattr(subject.consumers, "tastes", None)
    if not isinstance(tastes, Tastes):
        return not_applicable(name, measure, "these consumers have no table of tastes", bound)
    found = at_bounds({"rho": tastes.rho}, subject.segments)
    segments = len({one.owner for one in found})
    reached = []
    for coefficient in dict.fromkeys(one.coefficient for one in found):
        count = sum(one.coefficient == coefficient for one in found)
        reached.append(f"{coefficient} in {count} of {subject.num_segments} segments (bound {BOUNDS[coefficient]:g})")
    return Finding(
        name=name,
        measure=measure,
        value=float(segments),
        shown=f"{segments} of {subject.num_segments}",
        bound=bound,
        verdict="fail" if found else "pass",
        asked=0,
        worst="; ".join(reached),
        chart=Chart(
            "rho by segment, inside its bounds",
            "segment",
            "rho",
            (Series("rho", tuple(map(float, range(subject.num_segments))), tuple(map(float, tastes.rho)), "bars"),),
            ticks=subject.segments,
            levels={"bound": RHO_BOUND, "lower bound": -RHO_BOUND},
        ),
        details={"segments": {str(one.owner): {one.coefficient: one.value} for one in found}},
    )
