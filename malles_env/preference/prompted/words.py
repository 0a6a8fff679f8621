"""Counts, shares and rates in words, on a coarse scale: a small tokenizer gives digits no order."""

from __future__ import annotations

_COUNTS = (
    (1, "once"),
    (2, "twice"),
    (3, "three times"),
    (5, "four or five times"),
    (8, "six to eight times"),
    (14, "about a dozen times"),
    (29, "about twenty times"),
)
_WEEKS = ((0, "no"), (3, "a few"), (9, "several"), (24, "a dozen or two"))
_RATES = (
    (1.25, "nearly every shopping week"),
    (1.75, "two of three shopping weeks"),
    (2.5, "every second shopping week"),
    (3.5, "every third shopping week"),
    (5.0, "every fourth shopping week"),
    (7.0, "every sixth shopping week"),
    (10.0, "every eighth shopping week"),
    (15.0, "every twelfth shopping week"),
    (24.0, "every twentieth shopping week"),
)
_SHARES = (
    (0.08, "hardly any"),
    (0.18, "one in seven"),
    (0.29, "a quarter"),
    (0.42, "a third"),
    (0.58, "half"),
    (0.80, "most"),
    (0.999, "nearly all"),
)


def habit_words(history_total: int, weeks_seen: int) -> str:
    """Return how often a household buys in the market, e.g. ``"bought twice, in every fourth shopping week."``."""
    if history_total == 0:
        return f"not bought in {_ladder(weeks_seen, _WEEKS, 'many')} shopping weeks."
    rate = _ladder(max(weeks_seen, 1) / history_total, _RATES, "hardly any shopping week")
    return f"bought {_ladder(history_total, _COUNTS, 'very many times')}, in {rate}."


def known_words(bought: int, history_total: int) -> str:
    """Return own purchases of a product and their share, e.g. ``"twice, half"``.

    Args:
        bought: Own earlier purchases of it, 1 or more.
        history_total: Own earlier purchases in the market; below `bought` it counts as `bought`.
    """
    share = bought / max(bought, history_total)
    return f"{_ladder(bought, _COUNTS, 'very many times')}, {_ladder(share, _SHARES, 'all')}"


def _ladder(value: float, steps: tuple[tuple[float, str], ...], above: str) -> str:
    return next((words for limit, words in steps if value <= limit), above)
