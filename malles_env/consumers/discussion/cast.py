"""Casts: who talks, what each sees and what happens in each round, read from YAML and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from malles_env.errors import CorruptFile, InvalidInput, invalid
from malles_env.yaml_files import parse_yaml, read_plain_text

if TYPE_CHECKING:
    from typing_extensions import Self

_HOME = Path(__file__).parent / "casts"
Words = Annotated[str, Field(min_length=1, max_length=1000)]
Fact = Literal["price", "regular_price", "discount", "promotion", "popularity", "brand", "type", "size"]
Hears = Literal["nobody", "last", "all"]
MOST_QUANTITIES = 25
ModelType = TypeVar("ModelType", bound=BaseModel)


class Part(BaseModel):
    """Base of all parts: frozen, and a field that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Role(Part):
    """One who talks, with a slice of the product sheets.

    Attributes:
        name: Unique name, shown in transcripts.
        brief: What the role stands for; part of its rules.
        facts: What it sees of every product besides the title: numbers of the period and typed fields.
        sections: Sections of the product sheets it reads; those a sheet does not have are left out.
    """

    name: Words
    brief: Words
    facts: tuple[Fact, ...] = ()
    sections: tuple[Words, ...] = ()


class Phase(Part):
    """What happens in a round.

    Attributes:
        name: Shown in transcripts.
        form: ``note``: a text; ``proposal``: a text and the products nominated, read from label probabilities, those
            named by more than half of the roles being agreed; ``ballot``: JSON with product, quantity and reason.
        hears: What was said by the others: ``nobody`` (blind), the ``last`` round, or ``all`` rounds.
        words: Most words of what is said, cut there.
        nominate: Products each role nominates, with the form ``proposal``.
        ask: The question; ``{words}`` and ``{nominate}`` stand for the numbers above.
    """

    name: Words
    form: Literal["note", "proposal", "ballot"]
    hears: Hears = "last"
    words: Annotated[int, Field(strict=True, ge=1, le=200)] = 40
    nominate: Annotated[int, Field(strict=True, ge=1, le=25)] = 3
    ask: Words

    @field_validator("ask")
    @classmethod
    def _fills(cls, ask: str) -> str:
        try:
            ask.format(words=1, nominate=1)
        except (KeyError, IndexError, ValueError):
            raise ValueError("only {words} and {nominate} may stand in braces") from None
        return ask

    def question(self) -> str:
        """Return the question with its numbers."""
        return self.ask.format(words=self.words, nominate=self.nominate).strip()


class Moderator(Part):
    """Who decides over the full shelf.

    Attributes:
        brief: Its rules.
        facts, sections: What it sees of every product, as for a `Role`.
        hears: Rounds it hears of.
    """

    brief: Words
    facts: tuple[Fact, ...] = ()
    sections: tuple[Words, ...] = ()
    hears: Hears = "all"


class Cast(Part):
    """Roles, phases and limits of a discussion.

    Attributes:
        name, title: What it is called.
        buyer: What the one who buys is called, e.g. ``Household``.
        unit: What is bought, in the plural, e.g. ``packages``.
        outside: The outside option in words.
        quantities: Numbers of units an answer may name, ascending; the mean is taken over them.
        rules: Rules for everybody.
        slice_characters: Most characters of all products together that a role reads; the attention bottleneck.
        shelf_characters: The same for the moderator.
        roles: Who talks, in this order.
        phases: Of round 1, 2, ...; later rounds repeat the last one.
        moderator: Who decides.
    """

    name: Words
    title: str = ""
    buyer: Words = "Household"
    unit: Words = "units"
    outside: Words = "buy nothing"
    quantities: Annotated[tuple[Annotated[int, Field(strict=True, ge=1)], ...], Field(min_length=1)] = tuple(
        range(1, 10)
    )
    rules: Words
    slice_characters: Annotated[int, Field(strict=True, ge=100)] = 2400
    shelf_characters: Annotated[int, Field(strict=True, ge=100)] = 2400
    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=12)]
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    moderator: Moderator

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [role.name for role in self.roles]
        if len(set(names)) < len(names):
            raise ValueError(f"roles: names must differ, got {', '.join(names)}")
        if self.phases[0].hears != "nobody":
            raise ValueError("phases[0].hears: the first round is blind, so it must be nobody")
        if list(self.quantities) != sorted(set(self.quantities)) or len(self.quantities) > MOST_QUANTITIES:
            raise ValueError(f"quantities: must ascend, at most {MOST_QUANTITIES}")
        return self

    def phase(self, round_: int) -> Phase:
        """Return the phase of a round, counted from 1; the last one repeats."""
        return self.phases[min(round_, len(self.phases)) - 1]

    @property
    def majority(self) -> int:
        """Roles that must nominate a product for it to be agreed: more than half."""
        return len(self.roles) // 2 + 1


def list_casts() -> list[str]:
    """Return the names of the bundled casts."""
    return sorted(path.stem for path in _HOME.glob("*.yaml"))


def load_cast(source: str | Path | Cast) -> Cast:
    """Return a cast by its bundled name, by the path of a ``.yaml`` file, or as it is.

    Raises:
        InvalidInput: No such name, or a field that is not allowed; one line per problem.
        MissingResource: No such file.
        CorruptFile: The file is not YAML.
    """
    if isinstance(source, Cast):
        return source
    path = Path(source)
    if not is_yaml(path):
        if str(source) not in list_casts():
            raise invalid("cast", str(source), f"{', '.join(list_casts())}, or the path of a .yaml file")
        path = _HOME / f"{source}.yaml"
    return checked(Cast, read_yaml(path), path.name)


def is_yaml(source: str | Path) -> bool:
    """Return whether a name is the path of a YAML file."""
    return Path(source).suffix in (".yaml", ".yml")


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the fields of a YAML file.

    Raises:
        MissingResource: No such file.
        CorruptFile: It is not YAML, or no mapping.
        InvalidInput: It is no plain file, or too large.
    """
    fields = parse_yaml(read_plain_text(path), str(path))
    if not isinstance(fields, dict):
        raise CorruptFile(f"{path}: holds no mapping of fields")
    return fields


def checked(kind: type[ModelType], fields: dict[str, Any], source: str) -> ModelType:
    """Return `fields` as a `kind`; every problem is reported on a line of its own.

    Raises:
        InvalidInput: A field that is missing, unknown or not allowed.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        lines = []
        for found in error.errors():
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in found["loc"]).lstrip(".")
            lines.append(f"{source}: {place + ': ' if place else ''}{found['msg'].removeprefix('Value error, ')}")
        raise InvalidInput("\n".join(lines)) from None
