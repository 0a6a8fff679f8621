"""How names of products become tastes, as pydantic models of a scenario file; see `malles_env.scenarios.adding`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from malles_env.scenarios.blocks.entries import Entry, Money, Name, Number, Positive


class LevelEntry(Entry):
    """What a name alone says of a product's appeal to everybody, see `malles_env.evaluation.transfer.level`.

    Attributes:
        variance: Of the appeals that names explain, utils squared.
        length: Distance between unit readings at which likeness has fallen to exp(-1/2).
        price: Variance of the slope in the log price, utils squared.
        noise: Variance that no name explains, utils squared.
        known: Appeal of each product that was sold, by product_id, as its sales show it, utils.
        known_sd: Standard error of each.
        launch_bias: How much more launches appealed than their names said before their first sale, utils.
        launch_sd: By how much they differed from that, utils: the interval of a product that is added.
        launches: Launches behind these two numbers.
        launch_rank: Spearman's correlation between what their names said and what they sold.
    """

    variance: Money
    length: Annotated[float, Field(strict=True, gt=0.0)]
    price: Money
    noise: Annotated[float, Field(strict=True, gt=0.0)]
    known: Annotated[dict[str, Number], Field(min_length=1)]
    known_sd: Annotated[dict[str, Money], Field(min_length=1)]
    launch_bias: Number
    launch_sd: Annotated[float, Field(strict=True, gt=0.0)]
    launches: Positive
    launch_rank: Number


class WordsEntry(Entry):
    """How a language model reads names into the tastes of this scenario.

    Attributes:
        model: What compares a name with a segment's history: ``minilm``, a frozen sentence encoder,
            gives the features of `malles_env.preference.heads.kinship.FEATURES`.
        weights: Utils per unit of each feature; what they add to a product's taste has mean 0 over the segments.
        level: What a name says of the appeal to everybody.
    """

    model: Name = "minilm"
    weights: Annotated[tuple[Number, ...], Field(min_length=3, max_length=3)]
    level: LevelEntry
