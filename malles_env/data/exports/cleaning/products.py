"""The table of products, derived from the rows: titles, brands, sizes, and the market that each belongs to."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from malles_env.data.exports.choices import ImportChoices
from malles_env.data.exports.findings import Finding
from malles_env.data.parsing.packages import parse_package
from malles_env.errors import InvalidInput, invalid
from malles_env.yaml_files import parse_yaml, read_plain_text

ALL, OTHER = "all products", "other"


def product_table(rows: pl.DataFrame, choices: ImportChoices) -> tuple[pl.DataFrame, str, list[Finding]]:
    """Return one row per product, how markets were formed, and what was found.

    Args:
        rows: The rows that are kept, with product_id and what else was mapped.
        choices: Markets by keyword file or one for all; else by column.

    Raises:
        InvalidInput: The keyword file matches no product.
    """
    words = [name for name in ("title", "brand", "category", "market", "size") if name in rows.columns]
    products = rows.select(pl.col("product_id").unique(maintain_order=True))
    findings: list[Finding] = []
    for name in words:
        usual, several = _usual(rows, name)
        products = products.join(usual, on="product_id", how="left", maintain_order="left")
        if len(several):
            findings.append(_several(several, name))
    if "title" not in words:
        products = products.with_columns(title=pl.col("product_id"))
    untitled = products["title"].null_count()
    if untitled:
        findings.append(Finding("no_title", untitled, "mended", 0, "the code stands for the title", unit="products"))
    products = products.with_columns(pl.col("title").fill_null(pl.col("product_id")))
    if "size" in words:
        products = _with_sizes(products)
    products, how, more = _with_markets(products, rows, choices)
    order = ["product_id", "category", "market", "title", "brand", "size_value", "size_unit"]
    return products.select(name for name in order if name in products.columns), how, findings + more


def _usual(rows: pl.DataFrame, name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the most frequent text per product, and the products with several."""
    counts = rows.select("product_id", name).drop_nulls().group_by("product_id", name).len()
    counts = counts.sort(["len", name], descending=[True, False])
    usual = counts.unique("product_id", keep="first", maintain_order=True).select("product_id", name)
    many = counts.group_by("product_id", maintain_order=True).agg(pl.col(name), pl.col("len").sum())
    return usual, many.filter(pl.col(name).list.len() > 1).sort(["len", "product_id"], descending=[True, False])


def _several(several: pl.DataFrame, name: str) -> Finding:
    row = several.row(0, named=True)
    texts = " and ".join(repr(text[:40]) for text in row[name][:2])
    return Finding(
        f"several_{name}s" if name != "category" else "several_categories", len(several), "mended", 0,
        f"of several texts of one code the most frequent {name} is kept", unit="products",
        example=f"{row['product_id']}: {texts}",
    )  # fmt: skip


def _with_sizes(products: pl.DataFrame) -> pl.DataFrame:
    packages = [parse_package(text) for text in products["size"].to_list()]
    return products.with_columns(
        pl.Series("size_value", [None if package is None else package.total for package in packages], dtype=pl.Float64),
        pl.Series("size_unit", [None if package is None else package.unit for package in packages], dtype=pl.String),
    )


def _with_markets(
    products: pl.DataFrame, rows: pl.DataFrame, choices: ImportChoices
) -> tuple[pl.DataFrame, str, list[Finding]]:
    findings: list[Finding] = []
    if choices.one_market is not None:
        products, how = products.with_columns(market=pl.lit(choices.one_market)), "one for all, as given"
    elif choices.keywords is not None:
        products, how, findings = _by_keywords(products, rows, choices.keywords)
    elif "market" in products.columns or "category" in products.columns:
        name = "market" if "market" in products.columns else "category"
        products = products.with_columns(pl.col(name).fill_null(OTHER).alias("market"))
        how = f"by the column of {name}"
    else:
        products, how = products.with_columns(market=pl.lit(ALL)), "one for all (no column gives markets)"
    given = pl.col("category") if "category" in products.columns else pl.lit(None, pl.String)
    return products.with_columns(given.fill_null(pl.col("market")).alias("category")), how, findings


def read_keywords(path: Path) -> dict[str, list[str]]:
    """Return markets and their words from a YAML mapping, e.g. ``bags: [bag, tote]`` or ``bags: bag, tote``.

    Raises:
        MissingResource: No such file.
        CorruptFile: It is no YAML.
        InvalidInput: It is no mapping of markets to words, or too large or too deep.
    """
    content = parse_yaml(read_plain_text(path), str(path))
    if not isinstance(content, dict) or not content:
        raise invalid(str(path), content, "a mapping of markets to words, e.g. 'bags: [bag, tote]'")
    found: dict[str, list[str]] = {}
    for market, words in content.items():
        listed = words.split(",") if isinstance(words, str) else words
        if not isinstance(market, str) or not isinstance(listed, list) or not all(isinstance(w, str) for w in listed):
            raise invalid(f"{path}: {market}", words, "words, e.g. [bag, tote]")
        found[market] = [word.strip() for word in listed if word.strip()]
        if not found[market]:
            raise invalid(f"{path}: {market}", words, "one word at least")
    return found


def _by_keywords(products: pl.DataFrame, rows: pl.DataFrame, path: Path) -> tuple[pl.DataFrame, str, list[Finding]]:
    """Give each product the first market of which its title has a word, whole and in any case, also in the plural."""
    keywords = read_keywords(path)
    market = pl.lit(None, pl.String)
    for name, words in reversed(keywords.items()):
        pattern = rf"(?i)\b(?:{'|'.join(map(re.escape, words))})(?:s|es)?\b"
        market = pl.when(pl.col("title").str.contains(pattern)).then(pl.lit(name)).otherwise(market)
    products = products.with_columns(market.alias("market"))
    without = products.filter(pl.col("market").is_null())
    if len(without) == len(products):
        raise InvalidInput(f"{path}: no title of {len(products):,} products has one of its words, e.g. "
                           f"{products['title'][0]!r}; allowed: words of the titles")  # fmt: skip
    findings: list[Finding] = []
    if len(without):
        sold = rows.filter(pl.col("product_id").is_in(without["product_id"].implode()))
        message = f"no keyword matches: {len(sold):,} rows stay in the market {OTHER!r}"
        example, many = f"{without['product_id'][0]}: {without['title'][0][:40]}", len(sold) > len(rows) / 2
        findings.append(Finding("no_keyword", len(without), "kept", 0, message, "products", example, warn=many))
    found = set(products["market"].drop_nulls().unique().to_list())
    empty = [name for name in keywords if name not in found]
    if empty:
        message, example = "no product has a word of these markets", ", ".join(empty[:3])
        findings.append(Finding("empty_markets", len(empty), "kept", 0, message, "markets", example, warn=True))
    if len(found) == 1 and len(without) == 0:
        message, example = "the keywords put every product into one market", next(iter(found))
        findings.append(Finding("one_market", len(products), "kept", 0, message, "products", example, warn=True))
    return products.with_columns(pl.col("market").fill_null(OTHER)), f"by the keywords of {path.name}", findings
