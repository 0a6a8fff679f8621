"""What a market made of words says about itself: sources, assumptions, personas."""

from __future__ import annotations

from collections.abc import Sequence

from malles_env.scenarios.gifts.choices import Fitted, GiftChoices
from malles_env.scenarios.gifts.fits import PRIOR_MEDIAN, PRIOR_SD
from malles_env.scenarios.gifts.personas import FEWEST_NAMES, LARGE

LICENCE = (
    "Free to use. Names, list prices and statistics were derived from Online Retail, which its donor put under CC0; "
    "nothing in this file is about fewer than five customers."
)


def title(categories: Sequence[str], sellers: str) -> str:
    """Return a title made of the categories."""
    what = " and ".join(f"{name}s" for name in categories)
    return f"A gift wholesaler's {what}" if sellers == "one" else f"{what[:1].upper()}{what[1:]} of ten design houses"


def description(fitted: Fitted, chosen: GiftChoices, sellers: int) -> str:
    """Return what the scenario is."""
    market = fitted.market
    who = (
        f"One wholesaler, who may list {chosen.capacity} of them at once, is a category manager's problem"
        if chosen.sellers == "one"
        else f"Their {sellers} sellers are design houses formed from words in the names, which is an assumption"
    )
    return (
        f"{len(market)} products of a British gift wholesaler with their real names and list prices, "
        f"{int(market.launched.sum())} of them launched within the year. {who}. Consumers are segments of its "
        "customers, many of them shops; what each segment makes of each name comes from a sentence encoder that "
        "compares it with the names of what the segment bought in other categories."
    )


def sources(fitted: Fitted) -> list[str]:
    """Return where the numbers come from."""
    market = fitted.market
    return [
        "UCI Online Retail (D. Chen, S. L. Sain, K. Guo: Data mining for the online retail industry, Journal of "
        "Database Marketing and Customer Strategy Management 19(3), 2012, doi 10.1057/dbm.2012.17; CC0), December 2010 "
        f"to December 2011, categories {', '.join(market.categories)}: {int(market.counts.sum()):,} purchases",
        "all-MiniLM-L6-v2 (Apache-2.0) read the names",
    ]


def persona(history: Sequence[str], liked: Sequence[str], pieces: float) -> str:
    """Return a segment in words."""
    return (
        f"Customers who buy about {pieces:.0f} pieces of a product at a time. Typical of what they buy elsewhere: "
        f"{', '.join(history[:5])}. Compared with others they like {', '.join(liked)}."
    )


def notes(fitted: Fitted, chosen: GiftChoices) -> list[str]:
    """Return what was estimated and what was assumed."""
    price, said, launches = fitted.price, fitted.words, fitted.launches
    return [
        *([HOUSES] if chosen.sellers == "houses" else []),
        "Tastes: appeal of the product to everybody plus what words add for the segment. Appeals are fitted to all "
        "sales of the year, with availability inferred from others' purchases: the market sells of every product "
        "what the log sold while it was on sale. Words are weighted by three numbers fitted to the segments' "
        f"choices; segments are those of customers with {FEWEST_NAMES} or more products of other categories, grouped "
        f"without a look at their purchases in this one. On the weeks after those they were fitted on, words predict "
        f"choices by {said.gain:.4f} ± {said.gain_se:.4f} nats per purchase better than appeals alone: segments "
        "differ, but not by much.",
        f"PRICE RESPONSE IS WEAKLY IDENTIFIED. List prices hardly move within the year. What changes there are say "
        f"beta = {price.estimate:.2f} ± {price.estimate_se:.2f}; the prior is log-normal with median {PRIOR_MEDIAN:g} "
        f"and a standard deviation of the log of {PRIOR_SD:g} (an assumption); together they give {price.mean:.2f} ± "
        f"{price.sd:.2f}, the same for all segments. The {chosen.draws} draws (tastes: draws) vary it, the appeals "
        "and the weight of words within their errors.",
        f"There are no cost data: unit_cost is assumed to be {chosen.cost_share:.0%} of the list price, what a "
        f"seller of one product has whose best price is the list price at an elasticity of "
        f"{-1 / (1 - chosen.cost_share):.1f}. The fee is assumed: "
        f"{chosen.fee_share:.0%} of the average weekly revenue of a product. Shelf capacities are assumed.",
        f"A consumer is a place in an order: orders that take any of these products take "
        f"{fitted.slots * fitted.rate / max(_buying(fitted), 1e-9):.1f} of them, so every order counts as that many "
        f"consumers, of whom {fitted.rate:.0%} buy in an average week of the log. That more choice brings more "
        "purchases, and how many, is the logit's assumption: the log has no record of orders that found nothing.",
        f"Units are pieces. Customers with {LARGE:g} or more per purchase form segments of their own. A tier begins "
        "at the quantity of the log's commonest lower price of the product and may be as deep as its lowest.",
        f"Periods are the log's weeks from the second on; a product enters in that of its first sale. Names and prices "
        f"of the {len(launches.place)} launches said their appeal, from the sales of weeks before, with a rank "
        f"correlation of {launches.rank:.2f}; launches appealed {launches.bias:+.2f} utils more than said, with a "
        f"standard deviation of {launches.sd:.2f}.",
        "Consumer surplus is rough: prices reach from "
        f"{market_prices(fitted)}, and one rate of money per util stands for all products of a segment.",
        "Loyalty says what was bought last in the first weeks of the log; it matters to no taste here, and neither do "
        "others' purchases: the log tells neither from likes that last.",
    ]  # fmt: skip


def market_prices(fitted: Fitted) -> str:
    """Return the range of list prices in words."""
    return f"{fitted.market.prices.min():.2f} to {fitted.market.prices.max():.2f}"


HOUSES = (
    "SELLERS ARE AN ASSUMPTION. The log names neither makers nor designers: a house owns the products whose names "
    "hold its words (malles_env/data/sources/gifts/houses.yaml)."
)


def _buying(fitted: Fitted) -> float:
    """Return orders per week that take any of the products."""
    bought = fitted.market.orders["bought"].to_numpy()
    return float((bought > 0).sum()) / (fitted.market.log.weeks - 1.5)
