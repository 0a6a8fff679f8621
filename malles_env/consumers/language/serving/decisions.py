"""Typed decisions: servers that answer a choice or a score with a probability for every option.

``/v1/systemone`` (transformers serve) and ``/v1/decisions`` (OpenAI). A choice is which product, a score is how many
units: labels that count upwards are asked as a score, all others as a choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from malles_env.consumers.language.base import Prompt
from malles_env.consumers.language.serving.server_client import Unusable
from malles_env.consumers.language.wording import messages

LEAST = 1e-12
"""Probabilities are stated as decimals; what is stated as 0 counts as this."""


def is_score(labels: Sequence[str]) -> bool:
    """Return whether labels count upwards by ones, e.g. ``("1", "2", "3")``."""
    if len(labels) < 2 or not all(label.isdecimal() for label in labels):
        return False
    numbers = [int(label) for label in labels]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def systemone_request(model: str, prompt: Prompt, labels: Sequence[str]) -> dict[str, Any]:
    """Return the body of a ``/v1/systemone`` request."""
    state = "\n\n".join(part for part in (prompt.system, prompt.shared + prompt.own) if part)
    kind = "score" if is_score(labels) else "choice"
    criteria = list(labels) if kind == "score" else dict.fromkeys(labels)
    question = {"type": kind, "instructions": prompt.lead or None, "criteria": criteria}
    return {"model": model, "state": state, "questions": {"answer": question}}


def read_systemone(found: dict[str, Any], labels: Sequence[str]) -> list[float]:
    """Return log probabilities of the labels [L] from a ``/v1/systemone`` answer."""
    keys = [str(at) for at in range(len(labels))] if is_score(labels) else list(labels)
    try:
        probabilities = found["answers"]["answer"]["probabilities"]
        return _logs([float(probabilities[key]) for key in keys])
    except (KeyError, TypeError, ValueError) as error:
        raise Unusable("answers a typed decision without a probability for every option") from error


def decisions_request(model: str, prompt: Prompt, labels: Sequence[str]) -> dict[str, Any]:
    """Return the body of a ``/v1/decisions`` request."""
    instructions = prompt.lead or "Answer the question."
    if is_score(labels):
        question: dict[str, Any] = {"type": "score", "levels": [{"label": label} for label in labels]}
    else:
        question = {"type": "choice", "choices": [{"value": label} for label in labels]}
    question |= {"name": "answer", "instructions": instructions}
    return {"model": model, "input": messages(prompt), "questions": [question]}


def read_decisions(found: dict[str, Any], labels: Sequence[str]) -> list[float]:
    """Return log probabilities of the labels [L] from a ``/v1/decisions`` answer."""
    try:
        (answer,) = found["answers"]
        name = "label" if answer["type"] == "score" else "value"
        probabilities = {str(option[name]): float(option["probability"]) for option in answer["probabilities"]}
        return _logs([probabilities[label] for label in labels])
    except (KeyError, TypeError, ValueError) as error:
        raise Unusable("answers a typed decision without a probability for every option") from error


def _logs(chances: list[float]) -> list[float]:
    if not all(math.isfinite(chance) and chance >= 0 for chance in chances) or sum(chances) <= 0:
        raise ValueError("not probabilities")
    whole = [max(chance, LEAST) for chance in chances]
    return [math.log(chance / sum(whole)) for chance in whole]
