"""Estimates of forces as table cells and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from malles_env.evaluation.forces.estimates import ForceEstimate, as_block

HEAD = ["force", "effect", "gain, new households", "gain, later weeks", "kept", "why"]


def cells(found: Sequence[ForceEstimate]) -> list[list[str]]:
    """Return the rows of a table, its head first; one line per parameter within a cell."""
    return [HEAD, *(_row(force) for force in found)]


def as_json(found: dict[str, list[ForceEstimate]]) -> dict[str, Any]:
    """Return the estimates of markets and the block each would put into a scenario, JSON values only."""
    return {
        market: {"forces": [asdict(force) for force in forces], "block": as_block(forces)}
        for market, forces in found.items()
    }


def _row(force: ForceEstimate) -> list[str]:
    effects = [f"{name} {value:.3g} ± {force.error[name]:.2g}" for name, value in force.effect.items()]
    gains = [f"{value:+.4f} ± {error:.4f}" for value, error in force.gains.values()] or ["", ""]
    return [force.name.replace("_", " "), "\n".join(effects), *gains, "yes" if force.kept else "no", force.reason]
