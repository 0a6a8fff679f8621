"""TasteData: choice occasions as the texts and numbers a taste model is trained and judged on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from malles_env.alignment.heads import Shelf
from malles_env.alignment.packing import Request
from malles_env.alignment.text import Persona, ProductText, option_text, persona_text
from malles_env.errors import InvalidInput

if TYPE_CHECKING:
    import polars as pl

    from malles_env.data.occasions import Occasions

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
SHARED_FIELDS = ("persona_texts", "option_texts", "markets")


@dataclass(frozen=True)
class TasteData:
    """B choice occasions, shelves padded to J options.

    Attributes:
        persona_texts: The distinct persona texts.
        option_texts: The distinct option texts.
        markets: The market names.
        persona: Index into `persona_texts` [B].
        option: Index into `option_texts` [B, J], 0 in the padding.
        market: Index into `markets` [B].
        household: Integer code of the household, for clustering [B].
        price: Shelf prices in money [B, J].
        regular_price: Regular prices in money [B, J].
        promotion: Displayed or advertised [B, J].
        bought: Own earlier purchases of the line [B, J].
        last: Own last purchase [B, J].
        share: Windowed mean field [B, J].
        reference_share: Long-run share [B, J].
        mask: True where an option exists [B, J].
        chosen: 0 for nothing, else the 1-based place on the shelf [B].
        quantity: Units bought, 0 with `chosen` 0 [B].
        log_sampling: Utility of the outside option in the sample [B].
        history_total: Own earlier purchases in the market [B].
        weeks_seen: Own earlier shopping weeks [B].
    """

    persona_texts: tuple[str, ...]
    option_texts: tuple[str, ...]
    markets: tuple[str, ...]
    persona: IntArray
    option: IntArray
    market: IntArray
    household: IntArray
    price: FloatArray
    regular_price: FloatArray
    promotion: BoolArray
    bought: IntArray
    last: BoolArray
    share: FloatArray
    reference_share: FloatArray
    mask: BoolArray
    chosen: IntArray
    quantity: IntArray
    log_sampling: FloatArray
    history_total: IntArray
    weeks_seen: IntArray

    def __len__(self) -> int:
        """Number of occasions."""
        return len(self.chosen)

    def take(self, index: NDArray[Any]) -> TasteData:
        """Return the occasions at `index` (integers or a boolean mask), texts shared."""
        rows = {f.name: getattr(self, f.name)[index] for f in fields(self) if f.name not in SHARED_FIELDS}
        return replace(self, **rows)

    @property
    def log_price(self) -> FloatArray:
        """log(p / r) [B, J], 0 in the padding."""
        ratio = np.divide(self.price, self.regular_price, out=np.ones_like(self.price), where=self.mask)
        return np.log(ratio)

    @property
    def discount(self) -> FloatArray:
        """Discount depth max(0, 1 - p/r) [B, J], 0 in the padding."""
        ratio = np.divide(self.price, self.regular_price, out=np.ones_like(self.price), where=self.mask)
        return np.maximum(0.0, 1.0 - ratio)

    def promotion_support(self) -> float:
        """Return how much more often a product is promoted per unit of discount depth (least squares)."""
        depth, shown = self.discount[self.mask], self.promotion[self.mask].astype(float)
        spread = float(depth.var())
        return max(0.0, float(np.cov(depth, shown)[0, 1]) / spread) if spread > 0 else 0.0

    def shelf(self) -> Shelf:
        """Return the numbers of all occasions as tensors; take a small part first."""
        numbers = {
            "log_price": self.log_price,
            "discount": self.discount,
            "promotion": self.promotion,
            "share": self.share,
            "reference_share": self.reference_share,
            "last": self.last,
            "outside": self.log_sampling,
        }
        tensors = {name: torch.as_tensor(array, dtype=torch.float32) for name, array in numbers.items()}
        return Shelf(**tensors, mask=torch.as_tensor(self.mask))

    def requests(self) -> tuple[list[Request], torch.Tensor, torch.Tensor]:
        """Return what the backbone must read for these occasions, each distinct pair once.

        Returns:
            The requests (one per distinct persona text), the request of each occasion [B] and the place of
            each option in the concatenated option states [B, J] (0 in the padding).
        """
        personas, persona_at = np.unique(self.persona, return_inverse=True)
        width = len(self.option_texts)
        keys = np.where(self.mask, persona_at[:, None] * width + self.option, -1)
        pairs, place = np.unique(keys, return_inverse=True)
        place = place.reshape(keys.shape)
        if len(pairs) and pairs[0] < 0:
            pairs, place = pairs[1:], np.maximum(place - 1, 0)
        owner, option = np.divmod(pairs, width)
        cuts = np.searchsorted(owner, np.arange(1, len(personas)))
        shelves = np.split(option, cuts)
        requests = [
            Request(self.persona_texts[persona], tuple(self.option_texts[at] for at in shelf))
            for persona, shelf in zip(personas, shelves, strict=True)
        ]
        return requests, torch.from_numpy(persona_at), torch.from_numpy(place)


def batches(data: TasteData, *, size: int, chunk: int, seed: int, epoch: int) -> Iterator[IntArray]:
    """Yield the row indices of an epoch's batches; the order is a function of seed and epoch alone.

    Occasions that share a persona text travel in chunks, so that the backbone reads their common options
    once; chunks are shuffled over all markets.

    Args:
        data: The occasions.
        size: Occasions per batch.
        chunk: Most occasions of one persona text kept together.
        seed: Seed of the shuffle.
        epoch: Number of the epoch, from 0.
    """
    rng = np.random.default_rng([seed, epoch])
    shuffled = rng.permutation(len(data))
    order = shuffled[np.argsort(data.persona[shuffled], kind="stable")]
    starts = np.flatnonzero(np.diff(data.persona[order], prepend=-1))
    chunks = [
        part for group in np.split(order, starts[1:]) for part in np.split(group, np.arange(chunk, len(group), chunk))
    ]
    batch: list[IntArray] = []
    held = 0
    for at in rng.permutation(len(chunks)):
        batch.append(chunks[at])
        held += len(chunks[at])
        if held >= size:
            yield np.concatenate(batch)
            batch, held = [], 0
    if batch:
        yield np.concatenate(batch)


def from_occasions(occasions: Occasions) -> TasteData:
    """Turn choice occasions into texts and padded arrays."""
    table = occasions.occasions
    if table.height == 0:
        raise InvalidInput("occasions: got none; allowed: at least one (loosen the selection)")
    arrays = occasions.arrays()
    persona_texts, persona = _personas(table)
    option_texts, option = _options(occasions, arrays["mask"])
    markets, market = np.unique(table["market"].to_numpy(), return_inverse=True)
    _, household = np.unique(table["household_id"].to_numpy(), return_inverse=True)
    return TasteData(
        persona_texts=persona_texts,
        option_texts=option_texts,
        markets=tuple(str(name) for name in markets),
        persona=persona,
        option=option,
        market=market.astype(np.int64),
        household=household.astype(np.int64),
        price=arrays["price"].astype(np.float64),
        regular_price=arrays["regular_price"].astype(np.float64),
        promotion=arrays["promotion"].astype(bool),
        bought=arrays["bought"].astype(np.int64),
        last=arrays["last"].astype(bool),
        share=arrays["share"].astype(np.float64),
        reference_share=arrays["reference_share"].astype(np.float64),
        mask=arrays["mask"].astype(bool),
        chosen=arrays["chosen"].astype(np.int64),
        quantity=arrays["quantity"].astype(np.int64),
        log_sampling=arrays["log_sampling"].astype(np.float64),
        history_total=table["history_total"].to_numpy().astype(np.int64),
        weeks_seen=table["weeks_seen"].to_numpy().astype(np.int64),
    )


def product_words(row: dict[str, Any]) -> ProductText:
    """Return the product text of a row of `Occasions.products`."""
    return ProductText(
        brand=str(row["brand"]),
        private_label=bool(row["private_label"]),
        size_value=float(row["size_value"] or 0.0),
        size_unit=str(row["size_unit"] or ""),
    )


def _personas(table: pl.DataFrame) -> tuple[tuple[str, ...], IntArray]:
    names = ["market", "category", "history_total", "weeks_seen"]
    unique = table.select(names).unique(maintain_order=True)
    texts = [persona_text(Persona(*row)) for row in unique.iter_rows()]
    return _distinct(texts, unique, table.select(names))


def _options(occasions: Occasions, mask: BoolArray) -> tuple[tuple[str, ...], IntArray]:
    products = {row["product_id"]: product_words(row) for row in occasions.products.iter_rows(named=True)}
    totals = occasions.occasions.select("occasion_id", "history_total")
    pairs = occasions.alternatives.select("occasion_id", "position", "product_id", "bought")
    pairs = pairs.join(totals, on="occasion_id", how="left").sort("occasion_id", "position")
    names = ["product_id", "bought", "history_total"]
    unique = pairs.select(names).unique(maintain_order=True)
    texts = [option_text(products[product], bought, total) for product, bought, total in unique.iter_rows()]
    distinct, flat = _distinct(texts, unique, pairs.select(names))
    option = np.zeros(mask.shape, dtype=np.int64)
    option[mask.astype(bool)] = flat
    return distinct, option


def _distinct(texts: list[str], unique: pl.DataFrame, rows: pl.DataFrame) -> tuple[tuple[str, ...], IntArray]:
    """Return distinct texts and, for each of `rows`, the index of its text."""
    import polars as pl

    distinct = tuple(dict.fromkeys(texts))
    place = {text: at for at, text in enumerate(distinct)}
    coded = unique.with_columns(pl.Series("text", [place[text] for text in texts], dtype=pl.Int64))
    joined = rows.join(coded, on=unique.columns, how="left", maintain_order="left")
    return distinct, joined["text"].to_numpy().astype(np.int64)
