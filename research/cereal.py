"""Builds the `cereal` scenario: one market of pyblp's bundled cereal data under its estimated random coefficients.

`python -m research.cereal --out cereal.yaml` estimates the demand in a few minutes and needs the package pyblp.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from malles_env.cli.places import file_option
from malles_env.errors import InvalidInput, MissingResource, invalid
from malles_env.market import Catalog, Population, Product, Tastes
from malles_env.market.solvers.equilibrium import monopoly
from malles_env.market.solvers.game import Game
from malles_env.scenarios.loader import parse_scenario, save_scenario
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import FloatArray
from research.command import run

DESCRIPTION = (
    "One city and quarter of the ready-to-eat cereal data that pyblp bundles (Nevo 2000, made to resemble real data): "
    "24 products of 5 sellers and 20 consumer types of random-coefficients logit. Costs are inverted under "
    "Bertrand-Nash pricing, so the data's prices are the market's Nash equilibrium. A unit is one daily serving."
)


def estimate() -> Any:
    """Return pyblp's results for the cereal problem of its documentation (Nevo 2000); takes a few minutes.

    Raises:
        MissingResource: The package pyblp is not installed.
    """
    try:
        import pandas
        import pyblp
    except ModuleNotFoundError as error:
        raise MissingResource(f"{error.name}: not installed; pip install 'malles-env[blp]'") from None
    pyblp.options.verbose = False
    problem = pyblp.Problem(
        (
            pyblp.Formulation("0 + prices", absorb="C(product_ids)"),
            pyblp.Formulation("1 + prices + sugar + mushy"),
        ),
        pandas.read_csv(pyblp.data.NEVO_PRODUCTS_LOCATION),
        pyblp.Formulation("0 + income + income_squared + age + child"),
        pandas.read_csv(pyblp.data.NEVO_AGENTS_LOCATION),
    )
    # the starting values of pyblp's own tutorial
    sigma = np.diag([0.3302, 2.4526, 0.0163, 0.2441])
    pi = np.array(
        [[5.4819, 0, 0.2037, 0], [15.8935, -1.2000, 0, 2.6342], [-0.2506, 0, 0.0511, 0], [1.2650, 0, -0.8091, 0]]
    )
    return problem.solve(sigma, pi, optimization=pyblp.Optimization("bfgs", {"gtol": 1e-4}), method="1s")


def build_cereal(market: str = "C01Q1", results: Any = None, made_by: str = "") -> Scenario:
    """Return one market of the cereal data as a scenario.

    Args:
        market: City and quarter, ``C01Q1`` to ``C65Q2``.
        results: What `estimate` returned; estimated anew by default.
        made_by: Command that made it, for the record.

    Raises:
        InvalidInput: There is no such market.
        MissingResource: The package pyblp is not installed.
    """
    results = estimate() if results is None else results
    problem = results.problem
    names = problem.products.market_ids.flatten()
    if market not in names:
        raise invalid("market", market, f"one of {names[0]} to {names[-1]}")
    rows, types = names == market, problem.agents.market_ids.flatten() == market
    traits = problem.products.X2[rows]
    taste = results.sigma @ problem.agents.nodes[types].T + results.pi @ problem.agents.demographics[types].T
    price_at = 1  # second column of X2
    base = float(results.beta[0, 0])
    slope = -(base + taste[price_at])
    prices = problem.products.prices[rows].flatten()
    others = [k for k in range(traits.shape[1]) if k != price_at]
    delta = results.delta[rows].flatten() - base * prices
    alpha = delta[None, :] + (traits[:, others].astype(float) @ taste[others]).T
    cost = results.compute_costs(market_id=market).flatten()
    weights = problem.agents.weights[types].flatten()
    owners = [f"firm_{int(firm)}" for firm in problem.products.firm_ids[rows].flatten()]
    order = np.argsort(owners, kind="stable")
    return _scenario(
        market, alpha[:, order], slope, weights, prices[order], cost[order], [owners[j] for j in order], made_by
    )


def _scenario(
    market: str, alpha: FloatArray, slope: FloatArray, weights: FloatArray, prices: FloatArray, cost: FloatArray,
    owners: list[str], made_by: str,
) -> Scenario:  # fmt: skip
    import yaml

    cartel = _cartel_prices(alpha, slope, weights, prices, cost, owners)
    reach = np.maximum(cartel - prices, 0.1 * prices)
    low, high = prices - 0.5 * reach, prices + 1.5 * reach
    numbers = [owners[:j].count(owner) + 1 for j, owner in enumerate(owners)]
    products = [
        {
            "product_id": f"{owner}_{numbers[j]:02d}", "seller": owner, "unit_cost": float(cost[j]),
            "regular_price": float(prices[j]),
            "price_low": round(float(low[j]), 5), "price_high": round(float(high[j]), 5),
        }
        for j, owner in enumerate(owners)
    ]  # fmt: skip
    fields = {
        "name": "cereal", "title": "Breakfast cereal with random coefficients", "description": DESCRIPTION,
        "sources": [
            "A. Nevo: A Practitioner's Guide to Estimation of Random-Coefficients Logit Models of Demand, "
            "JEMS 9(4), 2000",
            "C. Conlon, J. Gortmaker: Best Practices for Differentiated Products Demand Estimation with PyBLP, "
            f"RAND 51(4), 2020; data and estimation code of pyblp, market {market}",
        ],
        "licence": "pyblp is under the MIT licence; the data are Nevo's made-up ones, free to use.",
        "made_by": made_by, "currency": "dollars", "period": "quarter",
        "sellers": [{"name": name} for name in dict.fromkeys(owners)],
        "products": products,
        "segments": [{"name": f"type_{s + 1:02d}", "weight": float(w)} for s, w in enumerate(weights)],
        "population_size": 100_000.0,
        "consumers": {
            "kind": "logit",
            "tastes": {"alpha": alpha.tolist(), "beta": slope.tolist(), "price_transform": "linear"},
        },
        "max_cycles": 52, "reward_scale": 400.0,
        "notes": [
            "Regular prices are the data's prices, which are the Nash equilibrium at these costs.",
            "Price bounds: half the way from Nash to joint-profit price (at least a tenth of it) on either side.",
        ],
    }  # fmt: skip
    return parse_scenario(yaml.safe_dump(fields), "cereal")


def _cartel_prices(
    alpha: FloatArray, slope: FloatArray, weights: FloatArray, prices: FloatArray, cost: FloatArray, owners: list[str]
) -> FloatArray:
    """Return the prices that maximise joint profit, without bounds."""
    from malles_env.consumers.logit import LogitConsumers

    products = tuple(Product(f"p{j}", owner, float(cost[j]), float(prices[j])) for j, owner in enumerate(owners))
    nobody = np.zeros((len(weights), len(prices) + 1))
    nobody[:, 0] = 1.0
    tastes = Tastes(alpha=alpha, beta=slope, price_transform="linear")
    game = Game(Catalog(products), Population(1.0, weights, nobody), LogitConsumers(tastes))
    return monopoly(game, bounded=False, starts=1).prices


def main(
    out: Annotated[Path, file_option("The .yaml file to write.", "--out")],
    market: Annotated[str, typer.Option(help="City and quarter of pyblp's cereal data.")] = "C01Q1",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Estimate the cereal demand of pyblp's documentation and write one market of it."""
    if out.exists() and not overwrite:
        raise InvalidInput(f"{out}: exists already; give --overwrite to replace it")
    made_by = shlex.join(["python", "-m", "research.cereal", "--market", market, "--out", out.name])
    scenario = build_cereal(market, made_by=made_by)
    save_scenario(scenario, out)
    typer.echo(f"{out}: {len(scenario.products)} products of {len(scenario.sellers)} sellers")


if __name__ == "__main__":
    run(main)
