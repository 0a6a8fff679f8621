"""Label probabilities out of the log probabilities of a server's first token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from malles_env.consumers.language.serving.server_client import Unusable
from malles_env.errors import LanguageModelError, invalid

_ROUNDED = 0.01
UNKNOWN = 0.01
"""Share of the labels' probability that may lie on labels the server did not report, at most."""
LACKS_LOGPROBS = (
    "answers without log probabilities: it does not support `logprobs` (transformers serve ignores them; llama.cpp and "
    "vLLM give them)"
)


def check_labels(labels: Sequence[str]) -> None:
    """Refuse labels that a first token cannot distinguish."""
    for label in labels:
        if not label.strip() or any(other != label and other.startswith(label) for other in labels):
            raise invalid("labels", list(labels), "labels none of which begins another")
    if len(set(labels)) != len(labels):
        raise invalid("labels", list(labels), "different labels")


def first_token(found: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return (token, log probability) pairs reported for the first token, of a chat or a completion.

    Raises:
        Unusable: There are none.
    """
    try:
        logprobs = found["choices"][0]["logprobs"]
        if "content" in logprobs:
            options = logprobs["content"][0]["top_logprobs"]
            pairs = [(str(option["token"]), float(option["logprob"])) for option in options]
        else:  # the older form: {"top_logprobs": [{token: log probability}]}
            pairs = [(str(token), float(value)) for token, value in logprobs["top_logprobs"][0].items()]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise Unusable(LACKS_LOGPROBS) from error
    if any(math.isnan(value) or value > _ROUNDED for _, value in pairs):
        raise Unusable("answers with log probabilities that are none: NaN, or above 0")
    if not pairs:
        raise Unusable("answers with empty log probabilities")
    return pairs


def label_logs(pairs: Sequence[tuple[str, float]], labels: Sequence[str]) -> list[float]:
    """Return log probabilities of the labels [L], summing to 1 over them.

    A token counts for the one label it begins, with or without a space before it. A label that was not reported has at
    most the probability of the least token reported; it gets that much, as long as this is at most 1% of all labels'.

    Raises:
        LanguageModelError: Too much may lie on labels the server did not report.
    """
    mass = dict.fromkeys(labels, 0.0)
    for token, value in pairs:
        word = token.strip()
        meant = [label for label in labels if word and label.startswith(word)]
        if len(meant) == 1:
            mass[meant[0]] += math.exp(value)
    least = math.exp(min(value for _, value in pairs))
    missing = [label for label, found in mass.items() if found == 0.0]
    known = sum(mass.values())
    unknown = len(missing) * least
    if known == 0.0 or unknown > UNKNOWN * (known + unknown):
        share = unknown / (known + unknown) if known + unknown else 1.0
        raise LanguageModelError(
            f"the server reported the {len(pairs)} likeliest tokens, without the labels {', '.join(missing)}, on which "
            f"up to {share:.0%} of the labels' probability may lie; raise top_logprobs where the server allows it "
            "(vLLM: --max-logprobs), give label_token_ids (vLLM), or ask so that the labels are likelier answers"
        )
    whole = [mass[label] or least for label in labels]
    return [math.log(chance / sum(whole)) for chance in whole]
