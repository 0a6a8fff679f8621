"""Names of products as strangers write them: short, readable, and the same after fencing; anything else is refused."""

from __future__ import annotations

import re
import unicodedata

from malles_env.consumers.prompt_sanitizer import cleaned
from malles_env.errors import invalid
from malles_env.preference.data.text import FIELD_LIMIT

SHORTEST = 3


def checked_name(name: str) -> str:
    """Return an untrusted name of a product with single spaces.

    A language model will read it, so what `malles_env.consumers.prompt_sanitizer` would change is refused: control
    and invisible characters, line breaks, brackets, what looks like a price or a label, imitated letters. Emoji, and
    names without two letters in a row, say nothing a product is called.

    Args:
        name: As it was given.

    Raises:
        InvalidInput: It is too long or too short, or holds what no name of a product needs.
    """
    if not isinstance(name, str):
        raise invalid("name", name, "text")
    plain = " ".join(part for part in name.split(" ") if part)
    if not SHORTEST <= len(plain) <= FIELD_LIMIT:
        shown = f"{len(plain):,} characters" if len(plain) > FIELD_LIMIT else plain
        raise invalid("name", shown, f"{SHORTEST} to {FIELD_LIMIT} characters")
    strange = next((mark for mark in plain if unicodedata.category(mark)[0] in "CMZ" and mark != " "), None)
    strange = strange or next((mark for mark in plain if unicodedata.category(mark) in ("So", "Sk")), None)
    if strange is not None:
        words = unicodedata.name(strange, f"U+{ord(strange):04X}")
        raise invalid("name", f"the character {words}", "letters, digits, spaces and usual marks on one line")
    if not re.search(r"[^\W\d_]{2}", plain):
        raise invalid("name", plain, "words")
    kept = cleaned(plain, FIELD_LIMIT)
    if kept != plain:
        raise invalid("name", plain, f"a name without brackets, quotes, prices and labels, e.g. {kept!r}")
    return plain
