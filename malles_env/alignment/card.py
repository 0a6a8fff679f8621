"""Model cards: how a taste model was made and what it scores, for people (README.md beside the weights)."""

from __future__ import annotations

from typing import Any

DATA_LICENCE = "research use; trained on The Complete Journey"


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
    lines += [f"- {key}: {value}" for key, value in card.get("training", {}).items()]
    for title, table in card.get("tables", {}).items():
        lines += ["", f"## {title}", "", *_markdown_table(table)]
    for note in card.get("limits", []):
        lines += ["", note]
    return "\n".join(lines) + "\n"


def _markdown_table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["(empty)"]
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return lines + ["| " + " | ".join(str(row.get(name, "")) for name in names) + " |" for row in rows]
