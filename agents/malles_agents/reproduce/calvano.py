"""Calvano, Calzolari, Denicolo and Pastorello (AER 2020): how much tabular Q-learners earn above competition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.plots import COLOURS, FAINT, INK, new_figure, save_figure
from malles_agents.reproduce.base import Options, Reproduction, ResultRow, parts, row
from malles_agents.sellers.tabular import GridMarket, QSettings, Sessions, learn
from malles_agents.sellers.tabular.analysis import Limits, limits
from malles_agents.standard_errors import mean_se

PAPER = "Calvano et al. 2020"
ALPHAS = (0.025, 0.05, 0.1, 0.15, 0.2, 0.25)
BETAS = (1e-6, 2e-6, 4e-6, 8e-6, 1.4e-5, 2e-5)


def representative(options: Options) -> Reproduction:
    """Two sellers at alpha 0.15 and beta 4e-6."""
    market, settings = GridMarket(), QSettings()
    found, ends = _learn(market, settings, options, options.watch)
    sample = f"{len(ends.gain)} sessions"
    cycles = np.stack([ends.length == 1, ends.length == 2, ends.length > 2], axis=1)
    rows = [
        ResultRow("Nash price", float(market.nash.prices[0]), None, 1.47293, PAPER),
        ResultRow("joint-profit price", float(market.monopoly.prices[0]), None, 1.92498, PAPER),
        row("profit gain", ends.gain, sample=sample),
        row("mean price", ends.price.mean(axis=1), sample=sample),
        row("periods to convergence (million)", (found.periods - settings.stable) / 1e6, sample=sample),
        row("sessions converged (share)", found.converged, sample=sample),
    ]
    names = ("fixed point", "cycle of two", "longer cycle")
    rows += [row(f"sessions ending in a {n} (share)", cycles[:, k], sample=sample) for k, n in enumerate(names)]
    rows += grid_nash_rows(market)
    data = _speed(found) | {
        "profit_gain": mean_se(ends.gain)._asdict(),
        "sd": float(np.std(ends.gain, ddof=min(1, len(ends.gain) - 1))),
    }
    return Reproduction(
        "calvano", "Two Q-learning sellers in the logit duopoly", tuple(rows), data, _settings(settings, options),
        ("Neither the Nash nor the joint-profit price lies on the grid of 15 prices, so a profit gain of 0 is out of "
         "reach for sellers on it; the gains of the grid's own Nash equilibria stand in the table.",),
        lambda path: _histogram(ends, market, path),
    )  # fmt: skip


def grid_nash_rows(market: GridMarket) -> list[ResultRow]:
    """Return the profit gains of the stage game's pure Nash equilibria on the grid."""
    states = market.pure_nash()
    gains = market.gain(market.profit[:, states].T)
    return [
        ResultRow(
            f"profit gain of the grid's Nash equilibrium at prices {tuple(market.actions[k].tolist())}", float(gain)
        )
        for k, gain in zip(states, gains, strict=True)
    ]


def sellers(options: Options) -> Reproduction:
    """Two, three and four sellers; a session of four is some hundred times the work of one of two."""
    each = options.sessions or 100
    counts = {2: each, 3: each, 4: max(each // 5, 1)}
    rows, gains, done = [], {}, 0
    for n, count in counts.items():
        before = done
        market = GridMarket.symmetric(n)
        _, ends = _learn(
            market, QSettings(), options, lambda k, _, b=before: options.watch(b + k, sum(counts.values())), count
        )
        done += count
        gains[str(n)] = mean_se(ends.gain)._asdict()
        rows.append(row(f"profit gain, {n} sellers", ends.gain, sample=f"{count} sessions"))
    return Reproduction(
        "calvano-sellers", "More Q-learning sellers collude less", tuple(rows), {"profit_gain_by_sellers": gains},
        _settings(QSettings(), options),
        draw=lambda path: _lines(path, list(map(float, gains)), list(gains.values()), "sellers"),
    )  # fmt: skip


def learning_grid(options: Options) -> Reproduction:
    """The profit gain over learning rate alpha and exploration decay beta."""
    each, market = options.sessions or 20, GridMarket()
    cells = [(alpha, beta) for alpha in ALPHAS for beta in BETAS]
    table = np.empty((len(ALPHAS), len(BETAS)))
    errors = np.empty_like(table)
    for k, (cell, watch) in enumerate(zip(cells, parts(options, cells, each), strict=True)):
        _, ends = _learn(market, QSettings(alpha=cell[0], beta=cell[1]), options, watch, each)
        found = mean_se(ends.gain)
        table.flat[k], errors.flat[k] = found.mean, found.se
    sample = f"{each} sessions a cell"
    rows = (
        ResultRow("smallest profit gain of a cell", float(table.min()), sample=sample),
        ResultRow("largest profit gain of a cell", float(table.max()), sample=sample),
        ResultRow("share of cells between 0.70 and 0.90", float(((table >= 0.7) & (table <= 0.9)).mean())),
    )
    data = {"alpha": list(ALPHAS), "beta": list(BETAS), "profit_gain_map": table.tolist(), "se_map": errors.tolist()}
    return Reproduction(
        "calvano-grid", "Profit gain over learning rate and exploration", rows, data,
        _settings(QSettings(), options), draw=lambda path: _heat_map(path, table),
    )  # fmt: skip


def asymmetry(options: Options) -> Reproduction:
    """Seller 2's unit cost falls from 1; seller 1 keeps 1 and both keep quality 2."""
    costs = (1.0, 0.875, 0.75, 0.625, 0.5, 0.25)
    each, rows, gains = options.sessions or 200, [], {}
    for cost, watch in zip(costs, parts(options, costs, each), strict=True):
        market = GridMarket(cost=(1.0, cost))
        _, ends = _learn(market, QSettings(), options, watch, each)
        gains[f"{cost:g}"] = mean_se(ends.gain)._asdict()
        inside = market.nash.share[1] / market.nash.share.sum()
        rows.append(ResultRow(f"Nash share of seller 2 at cost {cost:g} (%)", 100 * float(inside)))
        rows.append(row(f"profit gain at cost {cost:g}", ends.gain, sample=f"{each} sessions"))
    return Reproduction(
        "calvano-asymmetry", "A cost advantage lowers collusion", tuple(rows), {"profit_gain_by_cost": gains},
        _settings(QSettings(), options),
        ("The profit gain compares averaged profits: one seller may earn less in the joint optimum than at Nash.",),
        lambda path: _lines(path, list(costs), list(gains.values()), "unit cost of seller 2"),
    )  # fmt: skip


def patience(options: Options) -> Reproduction:
    """The discount factor from 0 to 0.99."""
    factors = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99)
    each, rows, gains = options.sessions or 60, [], {}
    for factor, watch in zip(factors, parts(options, factors, each), strict=True):
        _, ends = _learn(GridMarket(), QSettings(discount=factor), options, watch, each)
        gains[f"{factor:g}"] = mean_se(ends.gain)._asdict()
        rows.append(row(f"profit gain at discount factor {factor:g}", ends.gain, sample=f"{each} sessions"))
    return Reproduction(
        "calvano-patience", "Collusion needs patience", tuple(rows), {"profit_gain_by_discount": gains},
        _settings(QSettings(), options),
        draw=lambda path: _lines(path, list(factors), list(gains.values()), "discount factor"),
    )  # fmt: skip


def _learn(
    market: GridMarket, settings: QSettings, options: Options, watch: Any, sessions: int | None = None
) -> tuple[Sessions, Limits]:
    found = learn(
        market, settings, sessions=sessions or options.sessions or 1, seed=options.seed, workers=options.workers,
        watch=watch,
    )  # fmt: skip
    return found, limits(found)


def _speed(found: Sessions) -> dict[str, float]:
    return {"periods_per_cpu_s": found.periods_per_cpu_s, "periods": int(found.periods.sum())}


def _settings(settings: QSettings, options: Options) -> dict[str, Any]:
    return {
        "alpha": settings.alpha, "beta": settings.beta, "discount": settings.discount, "stable": settings.stable,
        "sessions": options.sessions, "seed": options.seed,
    }  # fmt: skip


def _histogram(ends: Limits, market: GridMarket, path: Path) -> Path:
    figure, axis = new_figure()
    axis.hist(ends.gain, bins=np.linspace(0, 1.05, 43), color=COLOURS[0], edgecolor="white")
    axis.axvline(float(ends.gain.mean()), color=INK, label=f"mean {ends.gain.mean():.3f}")
    gains = market.gain(market.profit[:, market.pure_nash()].T)
    for k, gain in enumerate(gains):
        axis.axvline(float(gain), color=FAINT, linestyle=":", label="Nash on the grid" if k == 0 else None)
    axis.set_xlabel("profit gain (0: Bertrand-Nash, 1: joint optimum)")
    axis.set_ylabel("sessions")
    axis.set_title("Two Q-learning sellers", loc="left")
    axis.legend(frameon=False, loc="upper left")
    return save_figure(figure, path)


def _lines(path: Path, x: list[float], found: list[Any], label: str) -> Path:
    figure, axis = new_figure()
    means, errors = [f["mean"] for f in found], [2 * f["se"] for f in found]
    axis.errorbar(x, means, yerr=errors, color=COLOURS[0], marker="o", capsize=3, label="two standard errors")
    axis.set_xlabel(label)
    axis.set_ylabel("profit gain")
    axis.set_ylim(0, 1)
    axis.legend(frameon=False)
    return save_figure(figure, path)


def _heat_map(path: Path, table: np.ndarray) -> Path:
    figure, axis = new_figure()
    axis.grid(False)
    shown = axis.imshow(table, origin="lower", aspect="auto", cmap="viridis", vmin=0.5, vmax=1.0)
    axis.set_xticks(range(len(BETAS)), [f"{beta:.1e}" for beta in BETAS])
    axis.set_yticks(range(len(ALPHAS)), [f"{alpha:g}" for alpha in ALPHAS])
    for (i, j), gain in np.ndenumerate(table):
        axis.text(j, i, f"{gain:.2f}", ha="center", va="center", color="white" if gain < 0.8 else INK)
    axis.set_xlabel("beta (decay of exploration per period)")
    axis.set_ylabel("alpha (learning rate)")
    figure.colorbar(shown, label="profit gain")
    return save_figure(figure, path)
