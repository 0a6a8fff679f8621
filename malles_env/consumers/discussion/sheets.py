"""Product sheets: what sellers say of their products at length, by section; untrusted text, cleaned and bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from malles_env.consumers.discussion.cast import Part, checked, is_yaml, read_yaml
from malles_env.consumers.prompt_sanitizer import cleaned
from malles_env.errors import invalid

_HOME = Path(__file__).parent / "sheets"
TITLE_LIMIT = 80
"""Characters of a title or typed field."""
SECTION_LIMIT = 1000
"""Characters of a section of a sheet."""


@dataclass(frozen=True)
class ProductSheet:
    """One product in words. Titles, fields and sections are untrusted; `cleaned_sheet` bounds and cleans them.

    Attributes:
        product_id: Unique name; never shown to a model.
        title: The words a person reads.
        brand, type, size: Typed fields; empty where not known.
        sections: Section name -> text.
    """

    product_id: str
    title: str
    brand: str = ""
    type: str = ""
    size: str = ""
    sections: Mapping[str, str] = field(default_factory=dict)

    def cleaned_sheet(self) -> ProductSheet:
        """Return the same sheet without anything that could pass for more than product text."""
        title, brand, kind, size = (
            cleaned(text, TITLE_LIMIT) for text in (self.title, self.brand, self.type, self.size)
        )
        sections = {name: cleaned(text, SECTION_LIMIT) for name, text in self.sections.items()}
        return ProductSheet(self.product_id, title, brand, kind, size, sections)


class SheetFile(Part):
    """A file of product sheets.

    Attributes:
        about: Where they come from.
        products: product_id -> section name -> text.
    """

    about: str = ""
    products: dict[str, dict[str, Annotated[str, Field(max_length=20_000)]]]


def load_sections(source: str | Path, product_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the sections of each product.

    Args:
        source: Name of a scenario with bundled sheets, or the path of a ``.yaml`` file.
        product_ids: The scenario's products. All of them need not have a sheet; in a file of one's own no other may,
            and bundled sheets of other products are left out, since a scenario may be a part of the bundled one.

    Raises:
        InvalidInput: A product that does not exist, or a field that is not allowed.
        MissingResource: No such file.
        CorruptFile: The file is not YAML.
    """
    bundled = not is_yaml(source)
    path = _HOME / f"{source}.yaml" if bundled else Path(source)
    found = checked(SheetFile, read_yaml(path), path.name)
    if bundled:
        return {name: found.products[name] for name in product_ids if name in found.products}
    for name in found.products:
        if name not in product_ids:
            raise invalid(f"{path.name}: products", name, f"one of the products {', '.join(product_ids)}")
    return found.products


def has_sheets(scenario: str) -> bool:
    """Return whether there are bundled sheets for a scenario of this name."""
    return (_HOME / f"{scenario}.yaml").is_file()


def fit(texts: Sequence[str], budget: int) -> tuple[str, ...]:
    """Return texts cut so that together they have at most `budget` characters; the longest are cut first, alike.

    A text that is cut ends with three dots.
    """
    limit = _level([len(text) for text in texts], max(budget, 0))
    return tuple(text if len(text) <= limit else text[: max(limit - 3, 0)].rstrip() + "..." for text in texts)


def _level(lengths: Sequence[int], budget: int) -> int:
    """Return the largest limit L with sum(min(length, L)) <= budget."""
    left, ordered = budget, sorted(lengths)
    for at, length in enumerate(ordered):
        share = left // (len(ordered) - at)
        if length > share:
            return share
        left -= length
    return max(ordered, default=0)
