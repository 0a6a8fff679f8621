"""Files that were damaged or never meant for us: policies, weights, and logs as CSV, Parquet and workbooks.

Each is refused in one clear line or legal; a log that is read keeps every row or says why it is left out.
"""

from __future__ import annotations

import functools
import io
import json
import random
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import polars as pl

from malles_agents.registry import make_seller
from malles_agents.training.train import Run, train
from malles_env.data.building.build import build_occasions
from malles_env.data.checks import check_log
from malles_env.data.exports import ImportChoices, import_log, planned, write_import
from malles_env.data.log.readers import read_tables
from malles_env.data.settings import BuildSettings
from malles_env.data.splits import Splits
from malles_env.preference.store.locate import WEIGHTS
from tests.data.exports import shop
from tests.reliability.odd import in_both_sizes, judged
from tests.reliability.test_bad_inputs import places


@functools.cache
def whole_policy() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            "bertrand-duopoly", steps=8, settings={"num_markets": 4, "n_steps": 2, "minibatches": 1, "n_epochs": 1}
        )
        return train(run, Path(folder) / "run", say=lambda text: None).policy.read_bytes()


def spoiled_bytes(content: bytes, seed: int) -> bytes:
    """Return bytes cut, overwritten, doubled or mixed up at random."""
    rng, parts = random.Random(seed), bytearray(content)
    how = rng.choice(["cut", "flip", "zero", "insert", "double"])
    if how == "cut":
        return bytes(parts[: rng.randrange(len(parts))])
    if how == "double":
        return bytes(parts) * 2
    for _ in range(rng.choice([1, 3, 50])):
        at = rng.randrange(len(parts))
        if how == "insert":
            parts[at:at] = rng.randbytes(5)
        else:
            parts[at] = 0 if how == "zero" else rng.randrange(256)
    return bytes(parts)


def spoiled_zip(content: bytes, seed: int) -> bytes:
    """Return a zip file that is whole, with parts that are not; or one that is not."""
    rng = random.Random(seed)
    if rng.random() < 0.3:
        return spoiled_bytes(content, seed)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        chosen = rng.choice(old.namelist())
        for name in old.namelist():
            data = old.read(name)
            if name == chosen and rng.random() < 0.2:
                continue
            if name == chosen and name == "data" and rng.random() < 0.8:
                fields = json.loads(data)
                where = rng.choice(places(fields))
                node = fields
                for step in where[:-1]:
                    node = node[step]
                node[where[-1]] = rng.choice([None, -1, 1e308, "x", [], {}, {":type:": 1}, [[10**9]], True, 10**20])
                data = json.dumps(fields).encode()
            elif name == chosen:
                data = spoiled_bytes(data, seed)
            new.writestr(name, data)
    return out.getvalue()


@in_both_sizes(st.integers(0, 10**9), 15, 300)
def _policies(case: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.zip"
        path.write_bytes(spoiled_zip(whole_policy(), case))

        def play() -> None:
            seller = make_seller(f"ppo:{path}", "bertrand-duopoly")
            action, _ = seller.predict(
                np.zeros((1, *seller.observation_space.shape), dtype=np.float32), deterministic=True
            )
            assert action.shape == (1, 2)

        judged(play)


test_policies, test_policies_thoroughly = _policies


@in_both_sizes(st.integers(0, 10**9), 6, 100)
def _weights(case: int) -> None:
    from malles_env.preference.model import TasteModel

    rng = random.Random(case)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        shutil.copytree(WEIGHTS / "embedded", model)
        file = rng.choice(sorted(path for path in model.rglob("*") if path.is_file()))
        if file.suffix == ".json" and rng.random() < 0.7:
            fields = json.loads(file.read_text())
            where = rng.choice(places(fields))
            node = fields
            for step in where[:-1]:
                node = node[step]
            node[where[-1]] = rng.choice([None, -1, 1e308, "x", [], {}, True, 10**20, [[1]], 0])
            file.write_text(json.dumps(fields))
        else:
            file.write_bytes(spoiled_bytes(file.read_bytes(), case))
        judged(lambda: TasteModel.load(model))


test_weights, test_weights_thoroughly = _weights


# -- logs ----------------------------------------------------------------------------------------------------------

CELLS = [
    "", " ", "nan", "inf", "-1", "0", "1e308", "1e-320", "-1e308", "9" * 400, "2024-13-45", "1/2/2024", "13/13/2024",
    "00:00", "1970-01-01", "9999-12-31 23:59:59", "0001-01-01", "ü" * 300, '"', "'", "=1+1", "1.234,5", "-", "NULL",
    "x" * 100_000,
    "\x00", "\ufeff", "\ud7ff", "1 000", "€", "(3)", "1_000", "TRUE", "2147483648", "9223372036854775808", "0.5",
    "\t", "a|b", "\u202e",
]  # fmt: skip
MARKS = [
    '"', ",", ";", "\t", "\n", "\r", "\r\n", "\n\n", "\x00", "\ufeff", "ü", "sep=|\n", "#", '""', "x" * 200_000, "\x1a",
]  # fmt: skip
COLUMNS: list[Callable[[pl.Series], pl.Series]] = [
    lambda values: pl.Series(values.name, [None] * len(values), dtype=pl.Null),
    lambda values: pl.Series(values.name, [None] * len(values), dtype=pl.String),
    lambda values: pl.Series(values.name, [[1]] * len(values)),
    lambda values: pl.Series(values.name, [{"a": 1}] * len(values)),
    lambda values: pl.Series(values.name, [b"\xff"] * len(values)),
    lambda values: pl.Series(values.name, [True] * len(values)),
    lambda values: pl.Series(values.name, [2**63 - 1] * len(values)),
    lambda values: pl.Series(values.name, [-(2**63)] * len(values)),
    lambda values: pl.Series(values.name, [2**64 - 1] * len(values), dtype=pl.UInt64),
    lambda values: pl.Series(values.name, [float("nan")] * len(values)),
    lambda values: pl.Series(values.name, [float("inf")] * len(values)),
    lambda values: pl.Series(values.name, [1e300] * len(values)),
    lambda values: pl.Series(values.name, [1e-300] * len(values)),
    lambda values: pl.Series(values.name, [-1.5] * len(values)),
    lambda values: pl.Series(values.name, [0] * len(values), dtype=pl.UInt8),
    lambda values: pl.Series(values.name, [1] * len(values)).cast(pl.Duration("us")),
    lambda values: pl.Series(values.name, [1] * len(values)).cast(pl.Time),
    lambda values: pl.Series(values.name, [1] * len(values)).cast(pl.Date),
    lambda values: pl.Series(values.name, [1] * len(values)).cast(pl.Datetime("ns", "Asia/Tokyo")),
    lambda values: pl.Series(values.name, [1] * len(values)).cast(pl.Decimal(10, 2)),
    lambda values: values.cast(pl.String).cast(pl.Categorical),
    lambda values: values.cast(pl.Float32, strict=False),
    lambda values: values.shuffle(seed=1),
    lambda values: values.reverse(),
]
SETTINGS = BuildSettings(
    min_market_purchases=5, min_alternatives=2, min_line_purchases=2, min_line_households=1,
    splits=Splits(1, 5, 6, frozenset()),
)  # fmt: skip


@functools.cache
def receipts(form: str) -> bytes:
    """Return an export of a small shop."""
    lines = shop.receipts(weeks=8, customers=15)
    if form != "xlsx":
        return {"plain": shop.plain, "german": shop.german, "american": shop.american}[form](lines)
    with tempfile.TemporaryDirectory() as folder:
        return shop.workbook(lines, Path(folder) / "shop.xlsx").read_bytes()


@functools.cache
def tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the same shop in the canonical tables."""
    lines = shop.receipts(weeks=8, customers=15)
    names = ["household_id", "basket_id", "timestamp", "store_id", "product_id", "quantity", "unit_price"]
    rows = [(x.customer, x.receipt, x.when, "s1", x.product, x.quantity, x.price) for x in lines]
    goods = pl.DataFrame(shop.GOODS, schema=["product_id", "title", "market", "brand"], orient="row")
    return pl.DataFrame(rows, schema=names, orient="row"), goods.with_columns(category="market")


def spoiled_text(content: bytes, rng: random.Random) -> bytes:
    """Return a text table with cells, columns, lines or marks that nobody wants."""
    separator = b";" if content.split(b"\n", 1)[0].count(b";") else b","
    lines = [line.split(separator) for line in content.split(b"\r\n") if line]
    how = rng.choice(["cells", "cells", "cells", "column", "header", "rows", "marks", "bytes"])
    width = len(lines[0])
    if how == "cells":
        for _ in range(rng.choice([1, 5, 100])):
            row = rng.choice(lines[1:])
            row[rng.randrange(len(row))] = rng.choice(CELLS).encode("utf-8", "surrogatepass")
    elif how == "column":
        at, cell = rng.randrange(width), rng.choice(CELLS).encode()
        for row in lines[1:]:
            row[at] = cell
    elif how == "header":
        at, other = rng.randrange(width), rng.randrange(width)
        lines[0][at] = rng.choice([b"", lines[0][other], b"x", b"1", b"Price", b"Date", b"x" * 5000, b"\xff"])
    elif how == "rows":
        kept = rng.choice([0, 1, 2, 10])
        lines = rng.choice([lines[:kept], [lines[0], *lines[1:] * 2], lines[1:], [lines[0], *lines[:0:-1]]])
        if lines and rng.random() < 0.3:
            del lines[rng.randrange(len(lines))][-1]
    content = b"\r\n".join(separator.join(line) for line in lines)
    if how == "marks":
        parts = bytearray(content)
        for _ in range(rng.choice([1, 3, 30])):
            at = rng.randrange(len(parts) + 1)
            parts[at:at] = rng.choice(MARKS).encode()
        content = bytes(parts)
    return spoiled_bytes(content, rng.randrange(10**9)) if how == "bytes" else content


def spoiled_frame(frame: pl.DataFrame, rng: random.Random) -> pl.DataFrame:
    """Return a table with columns of other types, extreme values, or fewer columns and rows."""
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice(frame.columns)
        how = rng.choice(["type", "type", "some", "drop", "rename", "few"])
        if how == "type":
            frame = frame.with_columns(rng.choice(COLUMNS)(frame[name]))
        elif how == "some":
            column = rng.choice(COLUMNS)(frame[name])
            try:
                mixed = pl.when(pl.int_range(pl.len()) % 7 == 0).then(pl.lit(column)).otherwise(name).alias(name)
                frame = frame.with_columns(mixed)
            except pl.exceptions.PolarsError:
                continue  # types that cannot stand in one column
        elif how == "drop" and frame.width > 1:
            frame = frame.drop(name)
        elif how == "rename":
            other = rng.choice(["", "x", "Price", "file", "row", "reason"])
            frame = frame if other in frame.columns else frame.rename({name: other})
        else:
            frame = frame.head(rng.choice([0, 1, 3]))
    return frame


def spoiled_export(folder: Path, rng: random.Random) -> Path:
    form = rng.choice(["plain", "german", "american", "parquet", "parquet", "xlsx"])
    if form == "parquet":
        frame = pl.read_csv(receipts("plain"), try_parse_dates=True)
        path = folder / "shop.parquet"
        if rng.random() < 0.3:
            frame.write_parquet(path)
            path.write_bytes(spoiled_bytes(path.read_bytes(), rng.randrange(10**9)))
        else:
            spoiled_frame(frame, rng).write_parquet(path)
        return path
    path = folder / ("shop.xlsx" if form == "xlsx" else "shop.csv")
    content = receipts(form)
    path.write_bytes(spoiled_zip(content, rng.randrange(10**9)) if form == "xlsx" else spoiled_text(content, rng))
    return path


def take_in(path: Path, choices: ImportChoices) -> None:
    """Import an export and write the log; every row read is kept or left out for a reason."""
    plan = planned([path], choices)
    found = import_log(plan, choices)
    assert len(found.tables.transactions) + len(found.dropped) == len(plan.frame)
    assert found.dropped["reason"].null_count() == 0
    prices = found.tables.transactions["unit_price"]
    assert prices.is_finite().all() and (prices > 0).all()
    out = write_import(found, path.parent / "log")
    read_tables(out)
    json.loads((out / "import.json").read_text())


@in_both_sizes(st.integers(0, 10**9), 6, 600)
def _exports(case: int) -> None:
    rng = random.Random(case)
    lenient = rng.random() < 0.5
    choices = ImportChoices(
        drop_unreadable=lenient, drop_guests=rng.random() < 0.5, drop_mistyped=rng.random() < 0.5,
        date_format=rng.choice([None, None, "dmy", "mdy"]), decimal=rng.choice([None, None, ".", ","]),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = spoiled_export(Path(folder), rng)
        judged(lambda: take_in(path, choices))


test_exports, test_exports_thoroughly = _exports


def check_and_build(folder: Path) -> None:
    log = read_tables(folder)
    report = check_log(log, SETTINGS)
    json.dumps(report.as_json(), allow_nan=False)
    shelves = build_occasions(log, SETTINGS).arrays()
    assert np.isfinite(shelves["price"][shelves["mask"]]).all()


@in_both_sizes(st.integers(0, 10**9), 12, 400)
def _logs(case: int) -> None:
    rng = random.Random(case)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = ["transactions", "products"]
        spoiled = rng.choice([*names, "transactions"])
        for name, frame in zip(names, tables(), strict=True):
            if rng.random() < 0.5:
                frame = spoiled_frame(frame, rng) if name == spoiled else frame
                frame.write_parquet(folder / f"{name}.parquet")
            else:
                content = frame.write_csv(line_terminator="\r\n").encode()
                content = spoiled_text(content, rng) if name == spoiled else content
                (folder / f"{name}.csv").write_bytes(content)
        judged(lambda: check_and_build(folder))


test_logs, test_logs_thoroughly = _logs
