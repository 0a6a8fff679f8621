"""Model cards: how a taste model was made and what it scores, for people (README.md beside the weights)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from malles_env.files import read_json_object, write_json, write_text

SCORED = ("hit", "top3", "nll", "nll_all", "ece", "quantity_nll", "quantity_error", "quantity_bias")
"""Columns of the card's table of scores."""
COMPLETE_JOURNEY = "research use; trained on The Complete Journey"
"""Licence of the training data of what ships."""

LIMITS = (
    "Elasticities are observational (no instruments). Regular prices move rarely, so log price and discount are "
    "nearly collinear; the prior named in the settings decides what the data leave open.",
    "beta and gamma are net of display and advertising, which have utilities of their own: a price cut alone brings "
    "neither. Earlier prices of the same line were controlled for where each market's terms were fitted.",
    "rho is one number per market, fitted with the heads frozen and shrunk towards 0 (standard deviation 0.5): how the "
    "purchase share of the last periods, beyond the long-run one, moves utility. It also carries seasons and "
    "unrecorded promotions, so it is no evidence of social influence. It stays below 1.9, where a single segment has "
    "one mean-field equilibrium; training fails where it ends there. In a market that was never trained on it is 0.",
    "The draws show what the sample of households leaves open in each market's own terms; they take the heads as "
    "given, and price endogeneity is not in them.",
    "Demographics and free notes were never trained on.",
)


def render_card(card: dict[str, Any], config: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    name = config["backbone"]["name"]
    lines = [
        f"# Taste model `{card.get('name', name)}`",
        "",
        f"Backbone: {card.get('backbone', name)}. {card.get('summary', '')}".rstrip(),
        "",
        f"- licence of the training data: {card.get('data_licence', 'not stated')}",
        f"- made by: `{card.get('command', 'not stated')}`",
        f"- weights hash: `{config['weights_hash']}`",
    ]
    for key, value in card.get("training", {}).items():
        lines.append(f"- {key}: {_words(value)}")
    for title, table in card.get("tables", {}).items():
        lines += ["", f"## {title}", "", *_markdown_table(table)]
    for note in card.get("limits", []):
        lines += ["", note]
    return "\n".join(lines) + "\n"


def put_scores(directory: Path, content: dict[str, Any], row: str) -> None:
    """Write what a row scored into the card of the model behind it; weights and their hash stay as they are.

    Args:
        directory: Folder of a saved taste model.
        content: The comparison as `malles_env.evaluation.comparison.results_json.as_json` gives it.
        row: The row's name.
    """
    card, config = read_json_object(directory / "card.json"), read_json_object(directory / "config.json")
    splits = [name for name in content["counts"] if row in content[name]]
    card["tables"] = {
        "Scores on test purchases (± one standard error, clustered by household)": [
            {"split": name, "purchases": content["counts"][name]["purchases"]}
            | {metric: _score_text(content[name][row], metric) for metric in SCORED}
            for name in splits
        ],
        "Nats given a purchase, this model minus others, paired": [
            {"split": name}
            | {other: _score_text(pair, "nll", "+") for other, pair in content["paired"].get(name, {}).items()}
            for name in splits
        ],
    }
    write_json(directory / "card.json", card, sort_keys=True)
    write_text(directory / "README.md", render_card(card, config))


def _score_text(scores: dict[str, Any], metric: str, sign: str = "") -> str:
    value, error = scores.get(metric), scores.get(f"{metric}_se")
    return "-" if value is None or error is None else f"{value:{sign}.4f} ± {error:.4f}"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} {_words(part)}" for key, part in value.items())
    return str(value)


def _markdown_table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["(empty)"]
    # A card read back from JSON has its columns in alphabetical order.
    first = ["split", "purchases", "model", "market"]
    names = [name for name in first if name in rows[0]] + [name for name in rows[0] if name not in first]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return lines + [
        "| " + " | ".join(str(row.get(name, "")).replace("|", "/") for name in names) + " |" for row in rows
    ]
