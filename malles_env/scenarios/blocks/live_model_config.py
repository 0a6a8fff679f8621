"""Entries of consumers who are asked anew in every period, and the choice between all kinds of consumers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, field_validator

from malles_env._moved import old_names
from malles_env.consumers.language.serving.addresses import checked_url
from malles_env.errors import invalid
from malles_env.scenarios.blocks.entries import (
    AlignedEntry,
    Coefficients,
    Count,
    Entry,
    LogitEntry,
    Name,
    Number,
    Positive,
    Share,
)


class LiveModelEntry(Entry):
    """Consumers for whom a language model answers live; which one.

    Attributes:
        kind: How it is asked.
        model: ``smollm2``, a local path or a hub id; with `server`, the model's name there.
        server: Base URL of a server that speaks the OpenAI protocol, or a list of several with the same weights, which
            share the questions; empty: the model runs in this process. A file's servers get ``$OPENAI_API_KEY`` only if
            the user lists them in ``$MALLES_TRUSTED_SERVERS``.
        cache: Whether answers are kept on disk, so that no question is put to the same model twice.
        top_logprobs: Tokens whose probability a server is asked for; small models need more than 20.
    """

    kind: str
    model: Name = "smollm2"
    server: str | tuple[str, ...] = ""
    cache: bool = True
    top_logprobs: Positive = 20
    _named: frozenset[str] = PrivateAttr(default=frozenset())

    def __eq__(self, other: object) -> bool:
        """Compare what the entries say; who said it does not count."""
        return (
            type(self) is type(other) and isinstance(other, LiveModelEntry) and self.model_dump() == other.model_dump()
        )

    def named_by_user(self, name: str) -> bool:
        """Return whether the user named a field in code or on the command line, instead of a file."""
        return name in self._named

    def name_by_user(self, *names: str) -> None:
        """Note fields that the user named; kept by copies, written into no file."""
        self._named |= frozenset(names)

    @field_validator("server")
    @classmethod
    def _plain_server(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(value, str):
            return checked_url(value, "") if value else value
        if not value or len(set(value)) < len(value):
            raise invalid("", f"{len(value)} servers", "one or more, each once")
        urls = tuple(checked_url(url, "") for url in value)
        return urls if len(urls) > 1 else urls[0]

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers, none where the model runs in this process."""
        return ((self.server,) if self.server else ()) if isinstance(self.server, str) else self.server


class PromptedEntry(LiveModelEntry):
    """Consumers who are a language model, asked live; see `malles_env.consumers.prompted`.

    Attributes:
        market: What the shelf holds, in words.
        orders, order, seed, loyalty, threshold, mean_field, quantity, unit_orders, text_limit: How to ask, as in
            `PromptSettings`.
        wording: YAML file with other words; empty: the shipped ones.
        temperature, outside, rho, price_sensitivity, unit_temperature, unit_tilt: Fitted numbers, as in `Calibration`.
        shift: Utils added, by product.
        calibrate: ``shares`` asks once more at the start and adds the shifts that give demand the products' reference
            shares and the purchase rate at their average prices; ``none`` does not.
        purchase_rate: Share of consumers who buy in a period at those prices.
    """

    kind: Literal["prompted"]
    market: Name = "products"
    orders: Positive = 4
    order: Literal["cyclic", "shuffled"] = "cyclic"
    seed: Count = 0
    loyalty: Literal["states", "words", "none"] = "states"
    threshold: Share = 0.1
    mean_field: Literal["words", "numbers", "none"] = "words"
    quantity: Literal["asked", "one"] = "asked"
    unit_orders: Positive = 1
    text_limit: Annotated[int, Field(strict=True, ge=8)] = 60
    wording: str = ""
    temperature: Coefficients = 1.0
    outside: Coefficients = 0.0
    shift: dict[str, Number] = Field(default_factory=dict)
    rho: Coefficients = 0.0
    price_sensitivity: Coefficients = 0.0
    unit_temperature: Annotated[float, Field(strict=True, gt=0.0)] = 1.0
    unit_tilt: Number = 0.0
    calibrate: Literal["shares", "none"] = "none"
    purchase_rate: Annotated[float, Field(strict=True, gt=0.0, lt=1.0)] | None = None


class AlignedPromptedEntry(Entry):
    """Consumers who are a post-trained language model, asked live; see `malles_env.consumers.aligned_prompted`.

    Attributes:
        kind: How it is asked.
        model: Folder that `malles align-prompted` made, or a shipped name.
        market: The market as its training called it, e.g. ``COFFEE | GROUND COFFEE``.
        orders, seed, loyalty, threshold: How to ask, as in `AlignedPromptedConsumers`.
        quantity: ``asked`` asks for units; with ``one`` every buyer takes one.
        temperature, outside, price_sensitivity, unit_temperature, unit_tilt: Fitted numbers, as in `Calibration`.
        shift: Utils added, by product.
        calibrate, purchase_rate: As in `PromptedEntry`.
    """

    kind: Literal["aligned_prompted"]
    model: Name
    market: Name
    orders: Positive = 2
    seed: Count = 0
    loyalty: Literal["states", "none"] = "states"
    threshold: Share = 0.1
    quantity: Literal["asked", "one"] = "asked"
    temperature: Coefficients = 1.0
    outside: Coefficients = 0.0
    shift: dict[str, Number] = Field(default_factory=dict)
    price_sensitivity: Coefficients = 0.0
    unit_temperature: Annotated[float, Field(strict=True, gt=0.0)] = 1.0
    unit_tilt: Number = 0.0
    calibrate: Literal["shares", "none"] = "none"
    purchase_rate: Annotated[float, Field(strict=True, gt=0.0, lt=1.0)] | None = None


class DiscussionEntry(LiveModelEntry):
    """Consumers whose role agents talk an offer over before they buy; see `malles_env.consumers.discussion`.

    Attributes:
        cast: Who talks: a bundled name, or the path of a ``.yaml`` file from where the program runs; empty: the cast
            named like the scenario, else ``retail``.
        sheets: Path of a ``.yaml`` file of product sheets, likewise; empty: the bundled ones, where there are some.
        rounds: Rounds of each discussion; 0 lets the moderator decide at once.
        orders: Shelf orders in which every discussion is held anew, at most the number of products.
        temperature: Of what is said; 0 takes the likeliest words.
        seed: Of shelf orders and of what is said.
        transcript: File that keeps every discussion as a line of JSON; empty: none is kept. Refused where a file names
            it, unless the user sets ``$MALLES_ALLOW_WRITE`` to 1.
    """

    kind: Literal["discussion"]
    cast: str = ""
    sheets: str = ""
    rounds: Annotated[int, Field(strict=True, ge=0, le=20)] = 3
    orders: Positive = 1
    temperature: Annotated[float, Field(strict=True, ge=0.0)] = 0.0
    seed: Count = 0
    transcript: str = ""


ConsumersEntry = Annotated[
    LogitEntry | AlignedEntry | PromptedEntry | AlignedPromptedEntry | DiscussionEntry, Field(discriminator="kind")
]
LIVE = (LiveModelEntry, AlignedPromptedEntry)
"""Entries whose model is asked anew in every period, and so holds the forces of demand itself."""


__getattr__ = old_names(__name__)
