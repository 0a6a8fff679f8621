"""Catalog, population and tastes refuse what cannot be."""

import numpy as np
import pytest

from malles_env.consumers import LogitConsumers
from malles_env.errors import InvalidInput
from malles_env.market import Catalog, Consumers, Market, Population, Product, Tastes


def product(**changes) -> Product:
    return Product(**({"product_id": "a", "seller": "s", "unit_cost": 1.0, "regular_price": 2.0} | changes))


@pytest.mark.parametrize(
    ("products", "message"),
    [
        ((), "products: got .*at least one product"),
        ((product(), product()), "products.product_id: got 'a'; allowed: a name used once"),
        ((product(unit_cost=-1.0),), r"products.unit_cost\[0\]: got -1.0; allowed: finite numbers from 0.0"),
        ((product(), product(product_id="b", regular_price=0.0)), r"products.regular_price\[1\]: got 0.0"),
        ((product(price_low=2.0, price_high=1.0),), r"products\[0\].price_high: got 1.0; allowed: more than"),
        ((product(stock=float("nan")),), r"products.stock\[0\]: got nan"),
        ((product(listing_fee=float("inf")),), r"products.listing_fee\[0\]: got inf"),
    ],
)
def test_bad_catalog(products, message):
    with pytest.raises(InvalidInput, match=message):
        Catalog(products)


def test_catalog_arrays():
    catalog = Catalog((product(), product(product_id="b", seller="t"), product(product_id="c")), capacity={"s": 1})
    assert catalog.sellers == ("s", "t")
    np.testing.assert_array_equal(catalog.products_of(0), [0, 2])
    np.testing.assert_array_equal(catalog.shelf, [1, 1])
    np.testing.assert_array_equal(catalog.price_low, 1.0)
    with pytest.raises(ValueError, match="read-only"):
        catalog.unit_cost[0] = 3.0


@pytest.mark.parametrize(("capacity", "message"), [({"x": 1}, "capacity: got 'x'"), ({"s": 0}, "capacity.s: got 0")])
def test_bad_capacity(capacity, message):
    with pytest.raises(InvalidInput, match=message):
        Catalog((product(),), capacity=capacity)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "population.size"),
        ({"weights": [-1.0]}, r"population.weights\[0\]"),
        ({"weights": [0.0]}, "population.weights"),
        ({"initial_loyalty": [[0.5, 0.2]]}, r"population.initial_loyalty\[0\]: got 0.7"),
        ({"initial_loyalty": [[1.0, 0.0], [1.0, 0.0]]}, r"population.initial_loyalty: got \(2, 2\)"),
        ({"personas": ("a", "b")}, "population.personas"),
    ],
)
def test_bad_population(changes, message):
    with pytest.raises(InvalidInput, match=message):
        Population(**({"size": 10, "weights": [1.0], "initial_loyalty": [[1.0, 0.0]]} | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": [1.0]}, r"tastes.alpha: got \(1,\)"),
        ({"alpha": [[np.nan, 0.0]]}, r"tastes.alpha\[0\]\[0\]: got nan"),
        ({"beta": -1.0}, r"tastes.beta\[0\]\[0\]: got -1.0; allowed: finite numbers from 0.0"),
        (
            {"gamma": [1.0, 2.0]},
            r"tastes.gamma: got \[1.0, 2.0\]; allowed: numbers that broadcast to shape \(1,\)",
        ),
        ({"lambda_": 100.0}, r"tastes.lambda_\[0\]: got 100.0"),
        ({"price_transform": "sqrt"}, "tastes.price_transform: got 'sqrt'; allowed: 'log' or 'linear'"),
    ],
)
def test_bad_tastes(changes, message):
    with pytest.raises(InvalidInput, match=message):
        Tastes(**({"alpha": [[0.0, 0.0]], "beta": 1.0} | changes))


def test_segments_with_equal_sensitivities_share_a_class():
    tastes = Tastes(alpha=np.zeros((4, 2)), beta=np.array([1.0, 2.0, 1.0, 2.0]), gamma=[0, 0, 0, 1.0])
    assert len(set(tastes.sensitivity_class.tolist())) == 3
    assert tastes.sensitivity_class[0] == tastes.sensitivity_class[2]
    assert all(np.ptp(tastes.beta[tastes.sensitivity_class == k], axis=0).max() == 0.0 for k in range(3))


def test_money_per_util():
    linear = Tastes(alpha=[[0.0, 0.0]], beta=4.0, price_transform="linear")
    np.testing.assert_allclose(linear.money_per_util(np.ones(2)), 0.25)
    log = Tastes(alpha=[[0.0, 0.0]], beta=2.0)
    np.testing.assert_allclose(log.money_per_util(np.array([3.0, 3.0])), 1.5)
    insensitive = Tastes(alpha=[[0.0]], beta=0.0)
    np.testing.assert_array_equal(insensitive.money_per_util(np.ones(1)), 0.0)


def test_parts_must_fit_together():
    catalog = Catalog((product(),))
    consumers = LogitConsumers(Tastes(alpha=[[0.0, 0.0]], beta=1.0))
    assert isinstance(consumers, Consumers)
    with pytest.raises(InvalidInput, match=r"consumers \(segments, products\): got \(1, 2\); allowed: \(1, 1\)"):
        Market(catalog, Population.uniform(1), consumers)


def test_utilities_beyond_the_exponential_are_refused():
    catalog = Catalog((product(),))
    consumers = LogitConsumers(Tastes(alpha=[[301.0]], beta=1.0))
    with pytest.raises(InvalidInput, match=r"tastes.alpha: got 301.0"):
        Market(catalog, Population.uniform(1), consumers)
