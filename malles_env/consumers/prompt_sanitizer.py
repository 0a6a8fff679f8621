"""Fences: text that sellers wrote, made safe to stand in a prompt.

Product text is untrusted. A fenced text is one short line between quotes, without control characters, without the
characters that chat templates, lists and tables are made of, and without words that look like a price. What is left
can still flatter; it can no longer end its line, open another turn or stand in for the shelf's own columns.
"""

# ruff: noqa: RUF001  letters that imitate others are this module's matter

from __future__ import annotations

import re
import unicodedata

LIMIT = 60
"""Characters of a fenced text, the longest by default."""
CUT = "..."
REMOVED = "(removed)"
_STRUCTURE = str.maketrans(dict.fromkeys('<>[]{}|#`*_=\\^~"«»“”„‹›', " ") | {":": ",", ";": ","})
_ALIKE = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеіјорсухѕԁԛѡ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαορντυχ",
    "ABESIJKMHOPCTYXaeijopcyxsdqw" + "ABEZHIKMNOPTYXaopvtux",
)
"""Cyrillic and Greek letters that look like Latin ones."""
_MONEY = r"(?:\$|€|£|¥|usd|eur|gbp|dollars?|euros?|pounds? sterling|cents?)"
_NUMBER = r"\d+(?:[.,]\d+)?"
_SIZES = r"(?:l|ml|cl|kg|g|mg|oz|fl|lbs?|ct|cm|mm|m|in|inch|qt|gal|pt|sq)"
_PRICES = re.compile(
    rf"{_MONEY}\s*{_NUMBER}|{_NUMBER}\s*{_MONEY}(?!\w)"
    rf"|\b(?:prices?|costs?|now|only|was|regular|regularly)\b[\s,]*{_NUMBER}"
    rf"|\b\d+[.,]\d\d\b(?!\s*{_SIZES}\b)"
    rf"|{_NUMBER}\s*(?:%|percent)\s*(?:off|discount|less|cheaper|reduced|of\b[^,.]*(?:purchases|sales|buyers))"
    r"|\b(?:on\s+(?:promotion|sale|offer)|promoted|for\s+free|free\s+of\s+charge)\b",
    re.IGNORECASE,
)
"""What looks like a price, a discount, a promotion or a share of purchases: the shelf alone states these."""
_LABELS = re.compile(r"(?<!\w)[A-Z1-9]\s*[:)]")
"""A lone letter or digit with a colon or bracket behind it, as labels stand on the shelf."""


def cleaned(text: str, limit: int = LIMIT) -> str:
    """Return untrusted text as one line of plain words, at most `limit` characters.

    Compatibility forms are folded (NFKC), letters of other scripts that imitate Latin ones are replaced within words
    that mix scripts, control, format (zero-width, bidirectional), private and unassigned characters are dropped, and
    brackets, bars, quotes, colons and what looks like a label or a price are taken out. Ordinary titles stay as they
    are. Cleaning a cleaned text changes nothing.

    Args:
        text: What a seller wrote.
        limit: Most characters, 8 or more; longer text is cut and ends with three dots.
    """
    text = text[: 20 * limit]  # a megabyte of text costs no more than a page
    plain = "".join(_kept(character) for character in unicodedata.normalize("NFKC", text))
    plain = _LABELS.sub(" ", re.sub(r"[^\W\d_]+", _same_script, plain))
    plain = _settled(plain.translate(_STRUCTURE))
    if len(plain) > limit:
        plain = _settled(plain[: limit - len(CUT)].rstrip(" ,.")) + CUT
    return plain


def fenced(text: str, limit: int = LIMIT) -> str:
    """Return untrusted text cleaned and between quotes, see `cleaned`."""
    return f'"{cleaned(text, limit)}"'


def _kept(character: str) -> str:
    """Return the character, a space for white space, nothing for what cannot be seen."""
    if character.isspace():
        return " "
    return "" if unicodedata.category(character)[0] == "C" else character


def _same_script(word: re.Match[str]) -> str:
    """Return a word with imitations of Latin letters replaced, if any of its letters is Latin."""
    letters = word[0]
    return letters.translate(_ALIKE) if any("a" <= letter.lower() <= "z" for letter in letters) else letters


def _settled(text: str) -> str:
    """Take out labels, prices and runs of spaces until nothing changes: a cut may bring the next one together."""
    while True:
        shorter = _LABELS.sub(" ", text)
        shorter = _PRICES.sub(REMOVED, shorter)
        shorter = re.sub(r"([,!?-])(?:\s*\1)+", r"\1", " ".join(shorter.split())).strip(" ,")
        if shorter == text:
            return text
        text = shorter
