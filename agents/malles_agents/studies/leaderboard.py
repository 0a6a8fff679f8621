"""From matches to a leaderboard: measures with standard errors, and the table in `agents/README.md`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.evaluation.report import label_of
from malles_agents.standard_errors import mean_se, plus_minus
from malles_agents.studies.tournament import Match, names
from malles_env.errors import InvalidInput
from malles_env.files import json_plain, replacing

BEGIN, END = "<!-- leaderboard begin -->", "<!-- leaderboard end -->"
WIDE = 0.05


@dataclass(frozen=True)
class Standing:
    """One seller in one scenario; each measure is a mean and its standard error over held-out seeds (NaN with one).

    All measures are means over the agents that the seller was, one after the other, and over opponents.

    Attributes:
        seller: Name.
        profit: Profit over the same agent's Nash profit. Where the exact dynamic optimum is known, here and in the
            next measures that stands for the Nash profit.
        gain: Profit gain (profit - Nash) / mean over agents of (monopoly - Nash); NaN where the reach from Nash to
            monopoly is below 5% of mean Nash profit.
        late: The same over the last quarter of the episode.
        gap: Share of the best reply's profit that is missing. The best reply is the best any seller of the tournament
            earns as the same agent against the same opponent: a lower bound on the best-response gap.
        self_play: Profit over Nash profit against itself.
        worst: Profit over Nash profit against its worst opponent.
        rivals: What opponents earn beside it, over what they earn beside a Nash seller.
        surplus: Consumer surplus per consumer and period above that of all-Nash play, money.
        by_seed: What `profit` is the mean of, one number per held-out seed.
    """

    seller: str
    profit: tuple[float, float]
    gain: tuple[float, float]
    late: tuple[float, float]
    gap: tuple[float, float]
    self_play: float
    worst: float
    rivals: float
    surplus: tuple[float, float]
    by_seed: tuple[float, ...] = ()


_Table = dict[tuple[str, str], list[Match]]
"""Seller and opponent -> their matches, one per agent."""


def standings(matches: Sequence[Match], scenario: str) -> list[Standing]:
    """Return the sellers of a scenario, best mean profit first."""
    table: _Table = {}
    for match in matches:
        if match.scenario == scenario:
            table.setdefault((match.seller, match.others), []).append(match)
    sellers = names([match for met in table.values() for match in met])
    rows = [_standing(seller, table, _best_replies(table)) for seller in sellers]
    return sorted(rows, key=lambda row: -row.profit[0])


def _best_replies(table: _Table) -> dict[tuple[str, str], float]:
    """Return the best mean profit of any seller by agent and opponent; whoever is alone has no opponent ("")."""
    best: dict[tuple[str, str], float] = {}
    for match in (match for met in table.values() for match in met):
        best[_opponent(match)] = max(best.get(_opponent(match), -np.inf), float(np.mean(match.profit)))
    return best


def _opponent(match: Match) -> tuple[str, str]:
    return match.agent, match.others if match.rivals else ""


def _standing(seller: str, table: _Table, best: dict[tuple[str, str], float]) -> Standing:
    by_opponent = {others: met for (own, others), met in table.items() if own == seller}
    met = [match for found in by_opponent.values() for match in found]
    nash, reach = float(np.mean([m.nash for m in met])), met[0].reach
    scale = reach if reach > WIDE * abs(nash) else np.nan
    profit = np.mean([np.array(m.profit) / m.nash for m in met], axis=0)
    against = {
        others: float(np.mean([np.mean(m.profit) / m.nash for m in found])) for others, found in by_opponent.items()
    }
    neutral = table.get(("nash", "nash"))
    base = float(np.mean([m.surplus for m in neutral])) if neutral else np.nan
    return Standing(
        seller, mean_se(profit),
        mean_se(np.mean([(np.array(m.profit) - m.nash) / scale for m in met], axis=0)),
        mean_se(np.mean([(np.array(m.late) - m.nash) / scale for m in met], axis=0)),
        mean_se(np.mean([1.0 - np.array(m.profit) / best[_opponent(m)] for m in met], axis=0)),
        against[seller], min(against.values()), _beside(met, table),
        mean_se(np.mean([m.surplus for m in met], axis=0) - base), tuple(profit.tolist()),
    )  # fmt: skip


def _beside(met: Sequence[Match], table: _Table) -> float:
    """Return what opponents earn beside a seller over what they earn beside the Nash seller, mean over matches."""
    beside_nash = {(m.others, m.agent): m for (own, _), found in table.items() if own == "nash" for m in found}
    pairs = [(m, beside_nash[m.others, m.agent]) for m in met if (m.others, m.agent) in beside_nash]
    ratios = [np.mean(m.rivals) / np.mean(nash.rivals) for m, nash in pairs if np.any(nash.rivals)]
    return float(np.mean(ratios)) if ratios else float("nan")


def overall(matches: Sequence[Match]) -> list[tuple[str, float]]:
    """Return sellers by their mean rank over scenarios, best first.

    A seller ranks behind those that earn more by over two standard errors, paired by held-out seed (with a single seed:
    behind all that earn more), so whoever cannot be distinguished from the best is first as well.
    """
    scenarios = list(dict.fromkeys(match.scenario for match in matches))
    ranks: dict[str, list[int]] = {name: [] for name in names(matches)}
    for scenario in scenarios:
        rows = standings(matches, scenario)
        for row in rows:
            ranks[row.seller].append(1 + sum(_ahead(other, row) for other in rows))
    return sorted(((name, float(np.mean(found))) for name, found in ranks.items() if found), key=lambda pair: pair[1])


def _ahead(one: Standing, other: Standing) -> bool:
    difference, error = mean_se(np.subtract(one.by_seed, other.by_seed))
    return difference > 2.0 * (0.0 if np.isnan(error) else error)


def as_json(matches: Sequence[Match]) -> dict[str, Any]:
    """Return ``ranks`` -> seller -> mean rank, and ``scenarios`` -> scenario -> seller -> measures, NaN as None."""
    scenarios = {}
    for scenario in dict.fromkeys(match.scenario for match in matches):
        rows = {row.seller: asdict(row) for row in standings(matches, scenario)}
        scenarios[scenario] = {seller: {k: row[k] for k in row if k != "seller"} for seller, row in rows.items()}
    return json_plain({"ranks": dict(overall(matches)), "scenarios": scenarios})


def as_markdown(matches: Sequence[Match], command: str) -> str:
    """Return the leaderboard as Markdown, with the command that made it below."""
    lines = ["| seller | mean rank |", "|---|---|"]
    lines += [f"| {name} | {rank:.1f} |" for name, rank in overall(matches)]
    for scenario in dict.fromkeys(match.scenario for match in matches):
        known = any(match.nash == match.monopoly for match in matches if match.scenario == scenario)
        against = "dynamic optimum" if known else "Nash"
        lines += ["", f"**{label_of(scenario)}**", "", *_scenario_table(standings(matches, scenario), against)]
    single = bool(matches) and len(matches[0].profit) == 1
    lines += ["", f"Made by `{command}`; {'one held-out seed' if single else '± standard error over held-out seeds'}."]
    return "\n".join(lines)


def _scenario_table(rows: Sequence[Standing], against: str) -> list[str]:
    titles = ("seller", f"profit / {against}", "profit gain", "late gain", "gap to best reply", "self-play",
              "worst opponent", "rivals", "surplus")  # fmt: skip
    lines = ["| " + " | ".join(titles) + " |", "|---|" + "---:|" * (len(titles) - 1)]
    for row in rows:
        cells = (
            row.seller, _cell(row.profit), _cell(row.gain, 2), _cell(row.late, 2), _cell(row.gap),
            f"{row.self_play:.3f}", f"{row.worst:.3f}", "" if np.isnan(row.rivals) else f"{row.rivals:.3f}",
            _cell(row.surplus, 4),
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _cell(value: tuple[float, float], digits: int = 3) -> str:
    return "" if np.isnan(value[0]) else plus_minus(*value, f".{digits}f")


def check_readme(readme: Path) -> tuple[str, str]:
    """Return what stands before and behind the table of a Markdown file, its marks included.

    Raises:
        InvalidInput: The file is not there, is no text, or has not both marks.
    """
    try:
        old = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{readme}: cannot be read ({getattr(error, 'strerror', 'not UTF-8 text')})") from None
    head, begin, rest = old.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise InvalidInput(f"{readme}: got no place for the table; allowed: a file with {BEGIN} and {END}")
    return head + BEGIN, END + tail


def write_leaderboard(text: str, readme: Path) -> Path:
    """Put the table between the marks of a Markdown file, whole or not at all.

    Raises:
        InvalidInput: The file is not there, or has not both marks.
    """
    head, tail = check_readme(readme)
    with replacing(readme) as temporary:
        temporary.write_text(f"{head}\n\n{text}\n\n{tail}", encoding="utf-8")
    return readme
