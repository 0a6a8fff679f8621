"""The benchmark for people: Markdown tables and one picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.plots import COLOURS, FAINT, new_figure, save_figure
from malles_agents.studies.calendar_shape import MATCH
from malles_agents.studies.dynamic import RATIO_AIM, REGRET_AIM, SHARE_AIM
from malles_env.scenarios import load_scenario
from malles_env.scenarios.calendar import find_calendar

Block = Mapping[str, Any]


def blocks(found: Mapping[str, Block]) -> Iterator[tuple[str, Block]]:
    """Yield the name of the scenario and the block of every taste model and kind of rivals."""
    for name, entry in found.items():
        for of_model in entry["models"].values():
            for block in of_model["rivals"].values():
                yield name, block


def as_markdown(found: Mapping[str, Block], command: str) -> str:
    """Return the tables, with the command that made them below."""
    parts = [_plans(found), _calendars(found), _hidden(found), _learned(found), _what_if(found), _aims(found)]
    footnote = f"Agent seller_0; expected demand where no learner plays. Made by `{command}`."
    return "\n\n".join([part for part in parts if part] + [footnote])


def _who(name: str, block: Block) -> str:
    return f"{name} | {block['model'] or 'in the file'} | {block['against']}"


def _plans(found: Mapping[str, Block]) -> str:
    lines = [
        "| scenario | tastes | rivals | best constant | best plan | ratio | without the end | bound | found by |",
        "|---|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, block in blocks(found):
        bound = block["upper_bound"]
        profit = [block[plan]["profit"] for plan in ("best_constant", "best_dynamic")]
        lines.append(
            f"| {_who(name, block)} | {profit[0]:,.0f} | {profit[1]:,.0f} | "
            f"{block['dynamic_ratio']:.4f} | {block['dynamic_ratio_without_end']:.4f} | "
            f"{'' if bound is None else f'{bound:.4f}'} | {block['method']} |"
        )
    return "\n".join(lines)


def _calendars(found: Mapping[str, Block]) -> str:
    lines = [
        "| calendar of | tastes | rivals | sd of log price | weeks changed > 5% | on deal | depth | autocorrelation |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    seen = set()
    for name, block in blocks(found):
        real = block["calendar"]["real"]
        if real is not None and name not in seen:
            lines.append(f"| {name}, real sellers | | | {_shape(real)} |")
        seen.add(name)
        if block["calendar"]["model"] is not None:
            lines.append(f"| {_who(name, block)} | {_shape(block['calendar']['model'])} |")
    return "\n".join(lines)


def _shape(shape: Mapping[str, float]) -> str:
    return " | ".join(f"{shape[key]:.2f}" if key != "sd" else f"{shape[key]:.3f}" for key in
                      ("sd", "changes", "on_deal", "depth", "autocorrelation"))  # fmt: skip


def _hidden(found: Mapping[str, Block]) -> str:
    lines = [
        "| scenario | tastes | rivals | draws | robust constant | clairvoyant | regret | of own draws | least share |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, block in blocks(found):
        hidden = block["hidden"]
        within = "" if hidden["regret_within"] is None else f"{hidden['regret_within']:.1%}"
        lines.append(
            f"| {_who(name, block)} | {hidden['draws']} | {hidden['robust']:,.0f} | {hidden['clairvoyant']:,.0f} | "
            f"{block['robust_regret']:.1%} | {within} | {hidden['least_of_best']:.3f} |"
        )
    return "\n".join(lines)


def _learned(found: Mapping[str, Block]) -> str:
    rows = []
    for name, block in blocks(found):
        for algo, score in block["learned"].items():
            rows.append(
                f"| {_who(name, block)} | {algo} | {_cell(score['share_of_gap'])} | {_cell(score['of_clairvoyant'])} | "
                f"{score['replicates']} |"
            )
    if not rows:
        return ""
    head = ["| scenario | tastes | rivals | learner | share of the gap closed | of clairvoyant | replicates |",
            "|---|---|---|---|---:|---:|---:|"]  # fmt: skip
    return "\n".join([*head, *rows])


def _cell(score: Mapping[str, float | None] | None) -> str:
    if score is None:
        return "no gap"
    low, high = score["low"], score["high"]
    return f"{score['iqm']:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]")


def _what_if(found: Mapping[str, Block]) -> str:
    rows, notes = [], []
    for name, block in blocks(found):
        assumed = block.get("what_if")
        if assumed is None:
            continue
        for row in assumed["rows"]:
            shape = row["calendar"]
            rows.append(
                f"| {_who(name, block)} | {row['gain']:g} | {row['dynamic_ratio_without_end']:.4f} | "
                f"{'' if shape is None else _shape(shape)} | {'yes' if row['alike'] else 'no'} |"
            )
        at = assumed["gain_at_aim"]
        reached = "not reached" if at is None else f"reached at a gain of {at:.2f}"
        like = ", ".join(f"{gain:g}" for gain in assumed["gains_alike"]) or "none"
        who = _who(name, block).replace(" | ", ", ")
        notes.append(
            f"- {who}: a ratio without the end of {RATIO_AIM:g} is {reached}; gains with a calendar like the real "
            f"one: {like}"
        )
    if not rows:
        return ""
    head = [
        f"Assumption, not an estimate: a {assumed_words(found)}.", "",
        "| scenario | tastes | rivals | gain | ratio without the end | sd of log price | weeks changed > 5% | "
        "on deal | depth | autocorrelation | like the real calendar |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]  # fmt: skip
    return "\n".join([*head, *rows, "", *notes])


def assumed_words(found: Mapping[str, Block]) -> str:
    """Return what the sweep assumes, in words; empty where none was asked for."""
    return next((block["what_if"]["assumption"] for _, block in blocks(found) if "what_if" in block), "")


def _aims(found: Mapping[str, Block]) -> str:
    """Return which results reach what would make a market worth learning, and a calendar worth running."""
    ratio = [_who(n, b) for n, b in blocks(found) if b["dynamic_ratio_without_end"] >= RATIO_AIM]
    regret = [_who(n, b) for n, b in blocks(found) if b["robust_regret"] >= REGRET_AIM]
    closed = [
        f"{_who(n, b)} | {algo}"
        for n, b in blocks(found) for algo, score in b["learned"].items()
        if b["robust_regret"] >= REGRET_AIM and score["share_of_gap"] and score["share_of_gap"]["iqm"] >= SHARE_AIM
    ]  # fmt: skip
    like = [_who(n, b) for n, b in blocks(found) if b["calendar"]["alike"]]
    rows = {
        f"ratio without the end of {RATIO_AIM:g} or more": ratio,
        f"robust regret of {REGRET_AIM:.0%} or more": regret,
        f"such a regret closed to {SHARE_AIM:.0%} or more": closed,
        f"calendar within a factor of {MATCH:g} of the real one": like,
    }
    return "\n".join(
        f"- {words}: {'; '.join(who).replace(' | ', ', ') if who else 'none'}" for words, who in rows.items()
    )


def draw(found: Mapping[str, Block], path: Path) -> Path | None:
    """Draw the weekly price of seller_0's first line, real and in the best plans; None without real calendars."""
    shown = {name: entry for name, entry in found.items() if entry["calendar"]["real"] is not None}
    if not shown:
        return None
    figure, axes = new_figure(len(shown), 1, size=(8.5, 3.2 * len(shown)))
    for axis, (name, entry) in zip(np.atleast_1d(axes), shown.items(), strict=True):
        market = load_scenario(name)
        calendar, line = find_calendar(market), _first_line(entry)
        column = market.product_ids.index(line)
        real = np.where(calendar.listed[:, column], calendar.prices[:, column], np.nan)
        axis.step(np.arange(1, len(real) + 1), real, where="mid", color=FAINT, label="real seller")
        for k, (model, of_model) in enumerate(entry["models"].items()):
            block = next(iter(of_model["rivals"].values()))
            axis.plot(*_path(block["best_dynamic"], line), color=COLOURS[k], label=f"best plan, {model}")
            for row in _enough(block)[:1]:
                prices = np.array(row["prices"][line])[: block["weeks"] - block["end"]]
                axis.step(
                    np.arange(1, len(prices) + 1), prices, where="mid", color=COLOURS[k], linestyle=":",
                    label=f"{model}, if gains counted {row['gain']:g} (assumed)",
                )  # fmt: skip
        axis.set_ylabel(f"price ({market.currency})")
        axis.set_title(f"{market.title or name}: {line}", loc="left", fontsize=11)
        axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.set_xlabel("week")
    return save_figure(figure, path)


def _first_line(entry: Block) -> str:
    """Return the first product that the best constant action lists."""
    return next(product for product, listed in entry["best_constant"]["listed"].items() if listed[0])


def _path(plan: Block, line: str) -> tuple[np.ndarray, np.ndarray]:
    prices = np.array(plan["prices"][line])
    return np.arange(1, len(prices) + 1), np.where(plan["listed"][line], prices, np.nan)


def _enough(block: Block) -> list[Any]:
    """Return the assumed gains at which the ratio passes the aim, smallest first."""
    rows = block.get("what_if", {}).get("rows", [])
    return [row for row in rows if row["dynamic_ratio_without_end"] >= RATIO_AIM]
