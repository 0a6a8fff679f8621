"""A small scenario as YAML text, to be spoilt in one place at a time."""

GOOD = """\
name: corner
title: Corner
sellers:
- {name: ann, capacity: 1}
- {name: bob}
products:
- {product_id: a1, seller: ann, unit_cost: 1.0, regular_price: 2.0, price_low: 1.0, price_high: 3.0,
   listing_fee: 4.0}
- {product_id: a2, seller: ann, unit_cost: 1.5, regular_price: 3.0, price_low: 1.5, price_high: 4.5,
   stock: 70.0}
- {product_id: b1, seller: bob, unit_cost: 0.0, regular_price: 2.5, price_low: 1.0, price_high: 3.0}
segments:
- {name: young, weight: 3.0, loyalty: {a1: 0.25, b1: 0.5}}
- {name: old, weight: 1.0, description: They have seen it all.}
population_size: 100.0
consumers:
  kind: logit
  tastes: {alpha: [[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]], beta: [2.0, 3.0], rho: 0.5, lambda_: 0.7, kappa: -1.0}
reward_scale: 10.0
"""

ALIGNED = """\
name: pantry
sellers:
- {name: maker_131, capacity: 1}
- {name: store_brand}
products:
- {product_id: a, seller: maker_131, unit_cost: 1.0, regular_price: 2.0, price_low: 1.0, price_high: 3.0,
   reference_share: 0.5, average_price: 1.6, brand: maker 131, size_value: 24.0, size_unit: oz}
- {product_id: b, seller: maker_131, unit_cost: 1.5, regular_price: 3.0, price_low: 1.5, price_high: 4.5,
   reference_share: 0.1, brand: maker 131, size_value: 36.0, size_unit: oz}
- {product_id: s, seller: store_brand, unit_cost: 0.5, regular_price: 1.2, price_low: 0.6, price_high: 2.0,
   reference_share: 0.4, brand: store brand, private_label: true, size_value: 24.0}
segments:
- {name: loyal, weight: 2.0, loyalty: {a: 0.9}, history_total: 8, weeks_seen: 36, bought: {a: 7, s: 1}}
- {name: new, weight: 1.0, history_total: 0, weeks_seen: 12}
population_size: 5000.0
consumers: {kind: aligned, market: SAUCES | CATSUP, category: SAUCES, purchase_rate: 0.1}
"""


def spoilt(old: str, new: str, text: str = GOOD) -> str:
    """Return `text` with the first `old` replaced."""
    assert old in text
    return text.replace(old, new, 1)
