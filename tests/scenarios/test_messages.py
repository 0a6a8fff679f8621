import pytest

from malles_env.errors import CorruptFile, InvalidInput
from malles_env.scenarios import parse_scenario
from tests.scenarios.texts import ALIGNED, GOOD, spoilt


def lines_for(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse_scenario(text, "corner.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("unit_cost: 0.0", "unit_cost: -1", "products[2].unit_cost: got -1; allowed: at least 0"),
        ("unit_cost: 0.0", "unit_cost: .nan", "products[2].unit_cost: got nan; allowed: a finite number"),
        ("unit_cost: 0.0", "unit_cost: dear", "products[2].unit_cost: got 'dear'; allowed: a number"),
        ("unit_cost: 0.0", "unit_cost: true", "products[2].unit_cost: got True; allowed: a number"),
        ("unit_cost: 0.0, ", "", "products[2].unit_cost: is missing; it must be given"),
        ("regular_price: 2.5", "regular_price: 0", "products[2].regular_price: got 0; allowed: at least 1e-09"),
        (
            "price_low: 1.5",
            "price_low: 9.0",
            "products[1].price_high: got 4.5; allowed: more than price_low = 9",
        ),
        (
            "seller: bob",
            "seller: ann",
            "sellers[1].name: got 'bob'; allowed: the seller of at least one product",
        ),
        ("product_id: a2", "product_id: a1", "products[1].product_id: got 'a1'; allowed: a name used once"),
        (
            "product_id: b1",
            "product_id: 7",
            "products[2].product_id: got 7; allowed: text (numbers need quotes)",
        ),
        ("capacity: 1", "capacity: 0", "sellers[0].capacity: got 0; allowed: at least 1"),
        ("capacity: 1", "capacity: 1.5", "sellers[0].capacity: got 1.5; allowed: a whole number"),
        ("b1: 0.5", "b1: 0.9", "segments[0].loyalty: got 1.15; allowed: shares that add up to at most 1"),
        ("b1: 0.5", "b1: 1.5", "segments[0].loyalty.b1: got 1.5; allowed: at most 1"),
        ("b1: 0.5", "c9: 0.5", "segments[0].loyalty: got 'c9'; allowed: one of the products a1, a2, b1"),
        (
            "kind: logit",
            "kind: magic",
            "consumers.kind: got 'magic'; allowed: 'logit', 'aligned', 'prompted', 'aligned_prompted', 'discussion'",
        ),
        (
            "  kind: logit\n",
            "",
            "consumers.kind: is missing; allowed: 'logit', 'aligned', 'prompted', 'aligned_prompted', 'discussion'",
        ),
        (
            "rho: 0.5",
            "rho: x",
            "consumers.tastes.rho: got 'x'; allowed: a number, a list of numbers or a list of lists of numbers",
        ),
        (
            "beta: [2.0, 3.0]",
            "beta: [2.0, -3.0]",
            "consumers.tastes.beta[1][0]: got -3.0; allowed: finite numbers from 0.0 to inf",
        ),
        (
            "[0.0, 1.0, 0.5]",
            "[0.0, 1.0]",
            "consumers.tastes.alpha: got ((1.0, 0.0, 0.5), (0.0, 1.0)); "
            "allowed: numbers that broadcast to shape (2, 3)",
        ),
        ("population_size: 100.0", "population_size: 0.0", "population_size: got 0.0; allowed: at least 1"),
        ("reward_scale: 10.0", "reward_scale: 0.0", "reward_scale: got 0.0; allowed: at least 1e-09"),
        (
            "title: Corner",
            "mean_field: {window: 0}",
            "mean_field.window: got 0; allowed: a whole number from 1 to 1000, or 'auto'",
        ),
        (
            "title: Corner",
            "mean_field: {coupling: loud}",
            "mean_field.coupling: got 'loud'; allowed: 'lagged' or 'equilibrium'",
        ),
        ("title: Corner", "mean_field: 8", "mean_field: got 8; allowed: a mapping of fields to values"),
    ],
)
def test_a_wrong_field_is_answered_with_place_value_and_what_is_allowed(old, new, line):
    assert lines_for(spoilt(old, new)) == [f"corner.yaml: {line}"]


def test_an_unknown_field_is_answered_with_the_nearest_one():
    (line,) = lines_for(spoilt("listing_fee: 4.0", "listing_fees: 4.0"))
    assert line.startswith(
        "corner.yaml: products[0].listing_fees: there is no such field (did you mean listing_fee?); allowed: "
    )
    (line,) = lines_for(spoilt("rho: 0.5", "roh: 0.5"))
    assert "consumers.tastes.roh: there is no such field (did you mean rho?)" in line


def test_no_products():
    start, end = GOOD.index("products:"), GOOD.index("segments:")
    assert lines_for(GOOD[:start] + "products: []\n" + GOOD[end:]) == [
        "corner.yaml: products: got []; allowed: at least 1 entry"
    ]
    assert lines_for(GOOD[:start] + GOOD[end:]) == ["corner.yaml: products: is missing; it must be given"]


def test_an_unknown_seller_is_named_with_the_known_ones():
    found = lines_for(spoilt("seller: bob", "seller: carl"))
    assert found[0] == "corner.yaml: products[2].seller: got 'carl'; allowed: one of the sellers ann, bob"


def test_sellers_stand_in_the_order_of_their_products():
    text = spoilt("- {name: ann, capacity: 1}\n- {name: bob}", "- {name: bob}\n- {name: ann, capacity: 1}")
    assert lines_for(text) == [
        "corner.yaml: sellers: got ['bob', 'ann']; allowed: the order in which their products come: ann, bob"
    ]


def test_every_problem_has_its_line():
    text = spoilt("unit_cost: 1.0", "unit_cost: -1").replace("regular_price: 3.0", "regular_price: 0.0")
    assert [line.split(":")[1].strip() for line in lines_for(text)] == [
        "products[0].unit_cost",
        "products[1].regular_price",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "reference_share: 0.4, ",
            "",
            "products[2].reference_share: got None; allowed: a number, as consumers.kind is aligned",
        ),
        (
            "weeks_seen: 12",
            "note: quiet",
            "segments[1].weeks_seen: got None; allowed: a whole number, as consumers.kind is aligned",
        ),
        ("bought: {a: 7", "bought: {a: 8", "segments[0].bought: got 9; allowed: at most history_total = 8"),
        (
            ", purchase_rate: 0.1",
            "",
            "consumers.purchase_rate: got None; allowed: a number, as consumers.calibrate is shares",
        ),
        (
            "reference_share: 0.1",
            "reference_share: 0.0",
            "products[1].reference_share: got 0.0; allowed: more than 0, as calibrate is shares",
        ),
    ],
)
def test_aligned_consumers_need_histories_and_shares(old, new, line):
    assert lines_for(spoilt(old, new, ALIGNED)) == [f"corner.yaml: {line}"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [", r"corner.yaml: is not valid YAML in line \d, column \d: did not find expected"),
        (
            "name: a\nname: b\n",
            r"corner.yaml: is not valid YAML in line 2, column 1: the key 'name' stands there twice",
        ),
        ("- 1\n- 2\n", r"corner.yaml: holds a list where the fields of a scenario should be"),
        ("", r"corner.yaml: holds nothing where"),
        ("name: !!python/object/apply:os.getcwd []\n", r"corner.yaml: is not valid YAML in line 1"),
    ],
)
def test_text_that_is_no_scenario_file(text, words):
    with pytest.raises(CorruptFile, match=words):
        parse_scenario(text, "corner.yaml")
