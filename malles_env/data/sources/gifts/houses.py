"""Design houses by words of the names: sellers that the log does not name, as an assumption in a file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field

from malles_env.data.sources.gifts.categories import first_with, plain_words
from malles_env.yaml_files import parse_yaml


class Houses(BaseModel):
    """Houses and their words, in the order in which they are tried; see `houses.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = Field(ge=1, le=1)
    houses: dict[str, list[str]]
    rest: str
    titles: dict[str, str]

    def of(self, names: Sequence[str]) -> list[str]:
        """Return the brand (house) of each name; `rest` where no word decides."""
        wanted = {house: [plain_words(word) for word in words] for house, words in self.houses.items()}
        return [first_with(plain_words(name), wanted, self.rest) for name in names]


@cache
def shipped_houses() -> Houses:
    """Return the houses that ship with the package."""
    text = files("malles_env.data.sources.gifts").joinpath("houses.yaml").read_text(encoding="utf-8")
    return Houses.model_validate(parse_yaml(text, "houses.yaml"))
