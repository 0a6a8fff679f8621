"""The paper's mean-field claim: which window of the population's purchases predicts a choice best, if any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from malles_agents.plots import COLOURS, FAINT
from malles_agents.reproduce.base import Options, Reproduction
from malles_env.data.occasions import Occasions
from malles_env.evaluation.comparison.study import Judged
from malles_env.evaluation.metrics import Estimate
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.prediction import Prediction
from malles_env.preference.training.market_terms import fit_market_prices
from malles_env.type_aliases import FloatArray
from research.paper.lab import Lab, lab_for, settings
from research.paper.plan import seeds
from research.paper.scores import Verdict, curve, gap, in_words, judge, line, panels, plain, report, score

WINDOWS = (0, 1, 2, 5, 10, 20)
"""Periods; 0 is no mean field."""


def windowed_shares(occasions: Occasions, window: int) -> FloatArray:
    """Return each line's share of its market's purchases over the `window` periods before each period.

    Args:
        occasions: The occasions, whose purchases are counted.
        window: Periods, 1 or more.

    Returns:
        [P, T + 1], by row of `occasions.products` and by period; 0 where nothing was bought in the window.
    """
    products = occasions.products.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    bought = occasions.purchases.join(products.select("product_id", "row"), on="product_id", how="inner")
    last = int(occasions.occasions["period"].max())  # type: ignore[arg-type]
    sold = np.zeros((len(products), last + 2))
    period = bought["period"].to_numpy()
    kept = period <= last
    np.add.at(sold, (bought["row"].to_numpy()[kept], period[kept] + 1), 1.0)
    until = np.cumsum(sold, axis=1)[:, : last + 1]  # sold strictly before each period
    before = np.pad(until, ((0, 0), (window, 0)))[:, : last + 1]
    inside = until - before
    _, market = np.unique(products["market"].to_numpy(), return_inverse=True)
    whole = np.zeros((market.max() + 1, last + 1))
    np.add.at(whole, market, inside)
    shares: FloatArray = np.divide(inside, whole[market], out=np.zeros_like(inside), where=whole[market] > 0)
    return shares


def with_window(data: TasteData, occasions: Occasions, window: int) -> TasteData:
    """Return the same occasions with another window of the mean field; 0 leaves the long-run share and no news.

    Args:
        data: Occasions whose products are in the order of `occasions.products`.
        occasions: Where the purchases are counted.
        window: Periods; 0 for none.
    """
    if window == 0:
        return replace(data, share=data.long_share)
    table = windowed_shares(occasions, window)
    share = table[data.product, np.minimum(data.period, table.shape[1] - 1)[:, None]]
    return replace(data, share=np.where(data.mask, share, 0.0).astype(np.float32))


def window_runs(
    lab: Lab, options: Options, windows: tuple[int, ...]
) -> tuple[dict[int, list[Prediction]], dict[int, float], Judged]:
    """Train one model per window and seed, everything else equal.

    Returns:
        Predictions of each training run, by window; the mean coupling rho, by window; the test occasions.
    """
    judged = lab.judged(lab.rows("test"), seed=options.seed)
    train, validation = lab.pair(lab.plan.train, options.seed)
    whole = seeds(options)
    predictions: dict[int, list[Prediction]] = {}
    rho: dict[int, float] = {}
    for k, window in enumerate(windows):
        learn, check, test = (with_window(d, lab.study.occasions, window) for d in (train, validation, judged.data))
        predictions[window], found = [], []
        for j, seed in enumerate(whole):
            model = lab.fitted(learn, check, seed)
            fit_market_prices(model, learn, lab.readings, draws=0, refuse=False)  # rho is a market's own
            predictions[window].append(lab.predicted(model, test))
            found.append(_coupling(lab, model, test))
            options.watch(k * len(whole) + j + 1, len(windows) * len(whole))
        rho[window] = float(np.mean(found))
    return predictions, rho, judged


def _coupling(lab: Lab, model: Any, data: TasteData) -> float:
    """Return the mean rho over some occasions."""
    import torch

    from malles_env.preference.heads.objective import score as scored

    with torch.no_grad():
        few = scored(data.take(np.arange(min(512, len(data)))), model.heads, lab.readings)
    return float(few.prefix.rho.mean())


def coupled(prediction: Prediction, data: TasteData, rho: float) -> Prediction:
    """Return a prediction with one number, rho times the windowed share less the long-run one, added."""
    utilities = prediction.utilities.copy()
    utilities[:, 1:] += rho * np.where(data.mask, data.share - data.long_share, 0.0)
    return replace(prediction, utilities=utilities)


def best_coupling(prediction: Prediction, data: TasteData) -> tuple[float, float]:
    """Return the rho that fits purchases best, by Newton's method, and its standard error.

    The log-likelihood of a logit is concave in one coefficient, so the steps end at its only top.
    """
    rows = np.flatnonzero(data.chosen > 0)
    base = prediction.inside()[rows]
    news = np.where(data.mask, data.share - data.long_share, 0.0)[rows].astype(np.float64)
    mine = news[np.arange(len(rows)), data.chosen[rows] - 1]
    rho, spread = 0.0, 0.0
    for _ in range(25):
        weight = np.exp(base + rho * news - (base + rho * news).max(1, keepdims=True))
        weight /= weight.sum(1, keepdims=True)
        mean = (weight * news).sum(1)
        spread = float(((weight * news**2).sum(1) - mean**2).sum())
        step = float((mine - mean).sum()) / max(spread, 1e-12)
        rho += float(np.clip(step, -5.0, 5.0))
        if abs(step) < 1e-8:
            break
    return rho, spread**-0.5 if spread > 0 else float("inf")


def window(options: Options, lab: Lab | None = None) -> Reproduction:
    """Compare mean-field windows: heads trained anew with each, and one coefficient added to the heads without."""
    lab = lab_for(options, lab)
    predictions, rho, judged = window_runs(lab, options, WINDOWS)
    verdicts = {w: judge(found, judged) for w, found in predictions.items()}
    added = _added(lab, options, predictions[0], judged)
    rows = []
    for w, verdict in verdicts.items():
        rows.append(line(f"{_name(w)}: hit rate", score(verdict, "hit")))
        rows.append(line(f"{_name(w)}: nats", score(verdict, "nll")))
    rows += [line(f"{_name(w)} - none, trained anew: nats", gap(verdicts[w], verdicts[0], "nll")) for w in WINDOWS[1:]]
    rows += [line(f"{_name(w)} - none, one coefficient added: nats", added[w][2]) for w in WINDOWS[1:]]
    rows += [line(f"{_name(w)}: added coefficient rho", Estimate(*added[w][:2])) for w in WINDOWS[1:]]
    return report(
        "paper-window",
        "Windows of the mean field",
        rows,
        _finding(verdicts, added),
        {
            "nats": {str(w): plain(score(v, "nll")) for w, v in verdicts.items()},
            "hit": {str(w): plain(score(v, "hit")) for w, v in verdicts.items()},
            "trained_rho": {str(w): value for w, value in rho.items()},
        },
        settings(lab, options),
        lambda path: _draw(verdicts, added, path),
        [
            "Trained anew: the error covers test households and training runs. The one coefficient is fitted on a "
            "draw of its own from the training and validation weeks."
        ],
    )


def _added(
    lab: Lab, options: Options, without: list[Prediction], judged: Judged
) -> dict[int, tuple[float, float, Estimate]]:
    """Return rho, its error and the change of test nats when a window's news is added to heads without one."""
    learn, watched = (with_window(d, lab.study.occasions, 0) for d in lab.pair(lab.plan.train, options.seed))
    model = lab.fitted(learn, watched, options.seed)
    check = lab.draw(lab.rows("train") | lab.rows("validation"), 2 * lab.plan.test, options.seed + 1)
    base = lab.predicted(model, with_window(check, lab.study.occasions, 0))
    before = judge(without[:1], judged)
    found = {}
    for w in WINDOWS[1:]:
        rho, error = best_coupling(base, with_window(check, lab.study.occasions, w))
        test = with_window(judged.data, lab.study.occasions, w)
        after = judge([coupled(without[0], test, rho)], judged)
        found[w] = (rho, error, gap(after, before, "nll"))
    return found


def _name(window: int) -> str:
    return "none" if window == 0 else f"{window} periods"


def _finding(verdicts: dict[int, Verdict], added: dict[int, tuple[float, float, Estimate]]) -> str:
    best = min(WINDOWS[1:], key=lambda w: added[w][2].mean)
    anew = min(verdicts, key=lambda w: score(verdicts[w], "nll").mean)
    parts = [f"{_name(w)} {in_words(gap(verdicts[w], verdicts[0], 'nll'))}" for w in WINDOWS[1:]]
    return (
        f"Nats against no mean field, heads trained anew: {'; '.join(parts)}; fewest with {_name(anew)}. With one "
        f"coefficient added to the same heads, which takes the noise of training out, {_name(best)} does best: nats "
        f"{in_words(added[best][2], digits=5)} than without, at rho {added[best][0]:.2f} ± {added[best][1]:.2f}."
    )


def _draw(verdicts: dict[int, Verdict], added: dict[int, tuple[float, float, Estimate]], path: Path) -> Path:
    names = [_name(w).removesuffix(" periods") for w in WINDOWS[1:]]

    def paint(axes: list[Any]) -> None:
        curve(axes[0], names, [gap(verdicts[w], verdicts[0], "nll") for w in WINDOWS[1:]], "trained anew", COLOURS[0])
        curve(axes[1], names, [added[w][2] for w in WINDOWS[1:]], "one coefficient", COLOURS[1])
        curve(axes[2], names, [Estimate(*added[w][:2]) for w in WINDOWS[1:]], "rho", COLOURS[2])
        titles = ("against none, trained anew", "the same, one coefficient", "that coefficient")
        units = (
            "nats more than without\n(lower is better)",
            "nats more than without\n(lower is better)",
            "rho (utils)",
        )
        for axis, title, unit in zip(axes, titles, units, strict=True):
            axis.axhline(0.0, color=FAINT, linewidth=1.0)
            axis.set_title(title)
            axis.set_ylabel(unit, fontsize=8.5)
            axis.set_xlabel("window (periods)")

    return panels(3, path, paint)
