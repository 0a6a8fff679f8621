"""Sellers by name: `make_seller("cost-plus:0.5", scenario, "seller_1")`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from malles_agents.seller_view import SellerView
from malles_agents.sellers.assortment import BestAssortment, RevenueOrdered
from malles_agents.sellers.assortment_bandit import MnlBandit
from malles_agents.sellers.bandits import EpsilonGreedy, QLearning, Thompson, Ucb
from malles_agents.sellers.oracles import monopoly_seller, nash_seller
from malles_agents.sellers.reactive import Grim, TitForTat, Undercut
from malles_agents.sellers.rules import RandomSeller, cost_plus, discount, fixed_price, lot_size
from malles_agents.sellers.sb3.policies import ALGORITHMS, load_policy
from malles_env.errors import invalid
from malles_env.scenarios import Scenario

if TYPE_CHECKING:
    from malles_env.consumers.language import LanguageModel

DEFAULT_MODEL = "smollm2"
EXPLORING = ("gaussian", "epsilon")
"""Sellers that add noise to another one."""


class Seller(Protocol):
    """Whoever answers SB3's `predict`: rules, best response and SB3 models alike."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, Any]:
        """Return action(s) and the next hidden state."""
        ...


def _number(spec: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not isfinite(number) or abs(number) > 1e12:
        raise invalid("seller", spec, "a finite number after the colon, e.g. cost-plus:0.5")
    return number


def _seed(spec: str, text: str | None) -> int:
    number = _number(spec, text) or 0.0
    if number < 0 or number != int(number):
        raise invalid("seller", spec, "a whole number of at least 0, the seed, behind the colon")
    return int(number)


def _fixed(spec: str, text: str | None, view: SellerView) -> Seller:
    return fixed_price(view, _number(spec, text))


def _cost_plus(spec: str, text: str | None, view: SellerView) -> Seller:
    markup = _number(spec, text)
    return cost_plus(view, 0.5 if markup is None else markup)


def _random(spec: str, text: str | None, view: SellerView) -> Seller:
    return RandomSeller(view, seed=_seed(spec, text))


def _known(make: Callable[[SellerView], Seller]) -> Callable[[str, str | None, SellerView], Seller]:
    """Return a builder of sellers that take no argument."""

    def build(spec: str, text: str | None, view: SellerView) -> Seller:
        if text is not None:
            raise invalid("seller", spec, f"{spec.partition(':')[0]} without anything behind it")
        return make(view)

    return build


def _with_number(make: Callable[..., Seller]) -> Callable[[str, str | None, SellerView], Seller]:
    """Return a builder of sellers whose argument is a number."""

    def build(spec: str, text: str | None, view: SellerView) -> Seller:
        number = _number(spec, text)
        return make(view) if number is None else make(view, number)

    return build


def _entry_point(place: str) -> Callable[..., Seller]:
    """Return a function that calls ``module:name``, imported when it is first called.

    Sellers that search use the registry to build their rivals, so the registry cannot import their modules.
    """
    module, _, name = place.partition(":")

    def call(*args: Any, **options: Any) -> Seller:
        seller: Seller = getattr(import_module(module), name)(*args, **options)
        return seller

    return call


def _robust(spec: str, text: str | None, view: SellerView) -> Seller:
    if text not in (None, "max-min"):
        raise invalid("seller", spec, "robust-stationary or robust-stationary:max-min")
    make = _entry_point("malles_agents.planning.hidden_draws:robust_stationary")
    return make(view, worst=text is not None)


def _with_seed(make: Callable[..., Seller]) -> Callable[[str, str | None, SellerView], Seller]:
    """Return a builder of sellers whose argument is a seed."""
    return lambda spec, text, view: make(view, seed=_seed(spec, text))


def _calendar(spec: str, text: str | None, view: SellerView) -> Seller:
    """Return a seller that replays real weeks: ``calendar``, ``calendar:OFFSET``, ``calendar:FILE.json[@OFFSET]``."""
    from malles_agents.sellers.calendar import CalendarSeller
    from malles_env.scenarios.calendar import find_calendar

    given = text or ""
    file, _, week = given.partition("@") if ".json" in given else ("", "", given)
    if (text is not None and not text) or (week and not week.isdecimal()):
        raise invalid(
            "seller", spec, "calendar, calendar:OFFSET (a whole number of weeks) or calendar:FILE.json@OFFSET"
        )
    return CalendarSeller(view, find_calendar(view.scenario, file or None), int(week) if week else None)


def _exploring(name: str, class_name: str) -> Callable[[str, str | None, SellerView], Seller]:
    """Return a builder of sellers called ``name:NUMBER:SELLER`` that add noise to another one."""

    def build(spec: str, text: str | None, view: SellerView) -> Seller:
        number, base = noise_and_seller(spec)
        inner = make_seller(
            base, view.scenario, view.agent, consumers=view.given, action_mode=view.action_mode,
            price_levels=view.price_levels, history=view.history,
        )  # fmt: skip
        if isinstance(getattr(inner, "rng", None), np.random.Generator):
            raise invalid("seller", spec, f"{name} around a seller that draws nothing itself")
        seller: Seller = getattr(import_module("malles_agents.logged.stochastic"), class_name)(view, inner, number)
        return seller

    return build


def noise_and_seller(spec: str) -> tuple[float, str]:
    """Return the amount of noise and the seller that it is added to, of a name such as ``gaussian:0.2:cost-plus:0.5``.

    Raises:
        InvalidInput: There is no number, no seller or no such seller.
    """
    name, _, rest = spec.strip().partition(":")
    text, _, base = rest.partition(":")
    number = _number(spec, text or "none")
    if not base or number is None:
        raise invalid("seller", spec, f"{name}:NUMBER:SELLER, e.g. {name}:0.1:cost-plus")
    check_name(base)
    return number, base


def _trained(spec: str, text: str | None, view: SellerView, trust: bool = False) -> Seller:
    algorithm = spec.partition(":")[0]
    if not text:
        raise invalid("seller", spec, f"{algorithm}:PATH of a policy.zip written by `malles train`")
    return load_policy(algorithm, Path(text), view, trust=trust)


def _language(spec: str, text: str | None, view: SellerView) -> Seller:
    """Return a language model as a seller: ``language``, ``language:MODEL``, ``language:MODEL@URL@URL...``."""
    from malles_agents.sellers.language import LanguageSeller

    return LanguageSeller(view, _language_model(*_model_and_url(spec, text)))


def _model_and_url(spec: str, text: str | None) -> tuple[str, tuple[str, ...]]:
    from malles_env.consumers.language.serving.addresses import checked_url

    name, *urls = (text or DEFAULT_MODEL).split("@")
    if not name or not all(urls):
        raise invalid("seller", spec, "language:MODEL, or language:MODEL@URL with a URL that begins with http")
    return name, tuple(checked_url(url, "seller") for url in urls)


@cache
def _language_model(name: str, urls: tuple[str, ...]) -> LanguageModel:
    """Return a model with its answers kept on disk, loaded once per process."""
    from malles_env.consumers.language import CachedModel, LocalModel, ServedModel

    return CachedModel(ServedModel(name, urls) if urls else LocalModel.load(name))


BUILDERS: dict[str, tuple[Callable[[str, str | None, SellerView], Seller], str]] = {
    "regular-price": (_known(fixed_price), "regular-price: the regular prices in every period"),
    "lot-size": (_known(lot_size), "lot-size: regular prices; orders in lots that weigh fixed and holding costs"),
    "fixed": (_fixed, "fixed:PRICE: one price in money for every product; fixed alone is regular-price"),
    "discount": (_with_number(discount), "discount, discount:DEPTH: regular prices less a share, default 0.35"),
    "cost-plus": (_cost_plus, "cost-plus, cost-plus:MARKUP: unit cost times (1 + mark-up), default 0.5"),
    "calendar": (
        _calendar,
        "calendar, calendar:OFFSET, calendar:FILE.json: the real sellers' weekly prices, replayed",
    ),
    "random": (_random, "random, random:SEED: uniform between the price bounds"),
    "best-response": (
        _known(_entry_point("malles_agents.sellers.best_response:BestResponse")),
        "best-response: best prices against the rivals' last ones, knowing demand",
    ),
    "undercut": (
        _with_number(Undercut),
        "undercut, undercut:FLOOR: just below the cheapest rival, down to a price index",
    ),
    "tit-for-tat": (_known(TitForTat), "tit-for-tat: monopoly prices, then the cheapest rival's last price index"),
    "grim": (_known(Grim), "grim: monopoly prices until undercut, then Nash prices"),
    "nash": (_known(nash_seller), "nash: the market's Bertrand-Nash prices"),
    "monopoly": (_known(monopoly_seller), "monopoly: the prices that maximise joint profit"),
    "epsilon-greedy": (_with_seed(EpsilonGreedy), "epsilon-greedy, epsilon-greedy:SEED: a bandit over price levels"),
    "ucb": (_with_seed(Ucb), "ucb, ucb:SEED: the same by upper confidence bounds"),
    "thompson": (_with_seed(Thompson), "thompson, thompson:SEED: the same by Thompson sampling"),
    "q-learning": (_with_seed(QLearning), "q-learning, q-learning:SEED: a table over the cheapest rival's price level"),
    "robust-stationary": (
        _robust,
        "robust-stationary, robust-stationary:max-min: the best constant action over draws of the tastes",
    ),
    "iterated-least-squares": (
        _known(_entry_point("malles_agents.sellers.least_squares:IteratedLeastSquares")),
        "iterated-least-squares: refits a demand curve to its own sales and plays what fits best",
    ),
    "thompson-draws": (
        _with_seed(_entry_point("malles_agents.planning.hidden_draws:ThompsonDraws")),
        "thompson-draws, thompson-draws:SEED: learns from its sales which draw of the tastes it meets",
    ),
    "mnl-bandit": (_with_number(MnlBandit), "mnl-bandit, mnl-bandit:SCALE: learns its assortment at regular prices"),
    "gaussian": (
        _exploring("gaussian", "GaussianNoise"),
        "gaussian:SD:SELLER: another seller with normal noise on its prices; 2 is the width of the price box",
    ),
    "epsilon": (
        _exploring("epsilon", "EpsilonGreedy"),
        "epsilon:SHARE:SELLER: another seller that chooses at random, product by product, with that probability",
    ),
    "best-assortment": (
        _with_number(BestAssortment),
        "best-assortment, best-assortment:FACTOR: lists what is best for the segments, knowing them, at regular prices "
        "times a factor",
    ),
    "revenue-ordered": (
        _with_number(RevenueOrdered),
        "revenue-ordered, revenue-ordered:FACTOR: the best number of its products of largest margins, likewise",
    ),
    "language": (
        _language,
        "language, language:MODEL, language:MODEL@URL: a language model, local (default smollm2) or on a server, or on "
        "several (@URL@URL)",
    ),
    **{name: (_trained, f"{name}:PATH: a policy trained with `malles train --algo {name}`") for name in ALGORITHMS},
}


def seller_names() -> list[str]:
    """Return the names that `make_seller` knows."""
    return list(BUILDERS)


def check_name(spec: str) -> None:
    """Check that a seller's name is known, without building it.

    Raises:
        InvalidInput: It is not; the message lists what exists. Or it names a server by a URL that holds a secret.
    """
    name, _, argument = spec.strip().partition(":")
    if name not in BUILDERS:
        raise invalid("seller", spec, ", ".join(seller_names()))
    if name == "language":
        _model_and_url(spec, argument or None)
    if name in EXPLORING:
        noise_and_seller(spec)


def make_seller(
    spec: str, scenario: Scenario | str, agent: str = "seller_0", *, trust: bool = False, **view_options: Any
) -> Seller:
    """Build a seller from its name.

    Args:
        spec: A name, optionally with an argument behind a colon, e.g. ``"cost-plus:0.5"`` or
            ``"ppo:runs/x/policy.zip"``.
        scenario: The market it will act in.
        agent: Whose products it sells, e.g. ``"seller_1"``.
        trust: Let a policy file be unpickled whole, which runs code stored in it: only for files you made.
        view_options: Passed on to `SellerView.of` (``action_mode``, ``consumers``).

    Returns:
        Something that answers SB3's `predict` with actions of that agent.

    Raises:
        InvalidInput: The name or its argument is unknown; the message lists what exists.
        MissingResource: A policy file is not there.
        CorruptFile: A policy file cannot be read.
    """
    check_name(spec)
    name, colon, argument = spec.strip().partition(":")
    text, view = argument if colon else None, SellerView.of(scenario, agent, **view_options)
    if name in ALGORITHMS:
        return _trained(spec, text, view, trust)
    return BUILDERS[name][0](spec, text, view)


def default_rivals(scenario: Scenario, learner: str, spec: str = "cost-plus", **options: Any) -> dict[str, Seller]:
    """Return a seller of kind `spec` for every agent but the learner."""
    agents = [f"seller_{n}" for n in range(scenario.catalog().num_sellers)]
    return {agent: make_seller(spec, scenario, agent, **options) for agent in agents if agent != learner}
