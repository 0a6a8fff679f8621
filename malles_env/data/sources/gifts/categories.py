"""Categories by words of the names: a frozen file, applied before any model."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from malles_env.errors import InvalidInput
from malles_env.yaml_files import parse_yaml

OTHER = "other"
"""Market of the products that no category takes: no occasions are built for it."""


class Categories(BaseModel):
    """Categories and their words, in the order in which they are tried; see `categories.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = Field(ge=1, le=1)
    categories: dict[str, list[str]]

    def of(self, titles: pl.Series) -> pl.Series:
        """Return the category of each name [n], `OTHER` where none takes it.

        Raises:
            InvalidInput: A category takes no name at all, or one of them takes all; the message names it.
        """
        wanted = {name: [plain_words(word) for word in words] for name, words in self.categories.items()}
        found = [first_with(plain_words(title), wanted, OTHER) for title in titles.to_list()]
        counts = {name: found.count(name) for name in (*wanted, OTHER)}
        for name, count in counts.items():
            if name != OTHER and count == len(found):
                raise InvalidInput(
                    f"categories: {name!r} takes all {count} names; allowed: words that distinguish names"
                )
        if counts[OTHER] == len(found):
            raise InvalidInput(f"categories: none of them takes any of {len(found)} names; allowed: words of the names")
        return pl.Series("category", found, dtype=pl.String)


@cache
def shipped_categories() -> Categories:
    """Return the categories that ship with the package."""
    text = files("malles_env.data.sources.gifts").joinpath("categories.yaml").read_text(encoding="utf-8")
    return Categories.model_validate(parse_yaml(text, "categories.yaml"))


def first_with(title: str, wanted: dict[str, list[str]], rest: str) -> str:
    """Return the first name with a word in the title, all as `plain_words` gives them; `rest` where there is none."""
    return next((name for name, words in wanted.items() if any(word in title for word in words)), rest)


def plain_words(text: str) -> str:
    """Return the words in lower case without a final s, a space before and after each."""
    words = re.findall(r"[a-z0-9'-]+", text.lower())
    return f" {' '.join(w[:-1] if len(w) > 3 and w.endswith('s') else w for w in words)} "
