"""`PromptedConsumers`: a language model that is asked anew in every period what each segment would take."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from malles_env.consumers.language.base import LanguageModel
from malles_env.consumers.prompted.calibration import Calibration
from malles_env.consumers.prompted.questions import PooledAnswers, Questions, Shop
from malles_env.consumers.prompted.settings import PromptSettings
from malles_env.consumers.prompted.wording import Persona, Wording, default_wording
from malles_env.errors import invalid
from malles_env.market.offer import Offer, Response
from malles_env.type_aliases import FloatArray


class PersonaConsumers:
    """What consumers share whose segments are personas before J products described in words.

    Attributes:
        products: J product texts.
        personas: S households.
        names: J distinct names of the products; default their texts.
        calibration: Fitted numbers; None changes nothing of what the model says.
    """

    products: tuple[str, ...]
    personas: tuple[Persona, ...]
    names: tuple[str, ...]
    calibration: Calibration | None

    def _settle_parts(self) -> None:
        """Make tuples of the parts and check that they fit.

        Raises:
            InvalidInput: Counts that do not fit, or names that are not distinct.
        """
        set_ = object.__setattr__
        set_(self, "products", tuple(self.products))
        set_(self, "personas", tuple(self.personas))
        set_(self, "names", tuple(self.names) or self.products)
        if not self.products or not self.personas:
            raise invalid("products, personas", (len(self.products), len(self.personas)), "at least one of each")
        if len(set(self.names)) != len(self.products) or len(self.names) != len(self.products):
            raise invalid("names", list(self.names), f"{len(self.products)} distinct names, one per product")
        for s, persona in enumerate(self.personas):
            if persona.bought and len(persona.bought) != len(self.products):
                raise invalid(f"personas[{s}].bought", persona.bought, f"{len(self.products)} counts, one per product")
        fitted = self.calibration
        shape = (self.num_segments, self.num_products)
        if fitted is not None and (len(fitted.outside), len(fitted.shift)) != shape:
            raise invalid("calibration", (len(fitted.outside), len(fitted.shift)), f"numbers for {shape}")

    @property
    def num_segments(self) -> int:
        """S."""
        return len(self.personas)

    @property
    def num_products(self) -> int:
        """J."""
        return len(self.products)

    @property
    def fitted(self) -> Calibration:
        """The calibration, or the one that changes nothing."""
        return self.calibration or Calibration.of(self.num_segments, self.num_products)


@dataclass(frozen=True)
class PromptedConsumers(PersonaConsumers):
    """Consumers whose choice probabilities are a language model's label probabilities.

    They keep no state, and the catalog's order of products plays no part. The surplus is the log-sum in money at the
    calibration's measured price sensitivity; NaN where none was measured, since utils then have no price.

    Attributes:
        model: Who is asked.
        products: J product texts; sellers wrote them, so they are fenced.
        personas: S households.
        names: J distinct names of the products, shown to nobody; default their texts.
        market: What the shelf holds, in words.
        currency: Of all prices.
        settings: How to ask.
        calibration: Fitted numbers; None changes nothing of what the model says.
        wording: The parts of a prompt.

    Raises:
        InvalidInput: Counts that do not fit, names that are not distinct, or two channels for the mean field.
    """

    model: LanguageModel
    products: tuple[str, ...]
    personas: tuple[Persona, ...]
    names: tuple[str, ...] = ()
    market: str = "products"
    currency: str = "money"
    settings: PromptSettings = field(default_factory=PromptSettings)
    calibration: Calibration | None = None
    wording: Wording = field(default_factory=default_wording)

    def __post_init__(self) -> None:
        """Check that the parts fit."""
        self._settle_parts()
        fitted = self.calibration
        if fitted is not None and np.any(fitted.rho != 0.0) and self.settings.mean_field != "numbers":
            raise invalid(
                "calibration.rho", fitted.rho.tolist(),
                f"0, as mean_field is {self.settings.mean_field!r}: one channel at a time, or it counts twice",
            )  # fmt: skip

    @property
    def shop(self) -> Shop:
        """What does not change from period to period."""
        return Shop(
            self.products, self.names, self.personas, self.market, self.currency, self.wording, self.settings
        )  # fmt: skip

    def calibrated(self, calibration: Calibration) -> PromptedConsumers:
        """Return the same consumers with other fitted numbers."""
        return replace(self, calibration=calibration)

    def questions(self, offer: Offer) -> Questions:
        """Return the questions of an offer, not asked yet: for reading them, and for counting what they cost."""
        return Questions(self.shop, offer)

    def ask(self, offer: Offer) -> PooledAnswers:
        """Return what the model says about an offer, before any calibration.

        Raises:
            LanguageModelError: The model failed, or answered with something that is no distribution.
        """
        return self.questions(offer).ask(self.model)

    def respond(self, offer: Offer) -> Response:
        """Answer an offer.

        Raises:
            LanguageModelError: The model failed, or answered with something that is no distribution. There is no
                default answer; asking again continues from there.
        """
        return settled(self.ask(offer), offer, self.fitted)


def settled(answers: PooledAnswers, offer: Offer, fitted: Calibration) -> Response:
    """Return the response that answers make under a calibration.

    With ``a(k)`` the row that answers for last purchase k and l_k its share, ``P(j) = sum_k l_k P_a(k)(j)`` and, as
    buyers move and the others stay, ``l'_j = P(j) + l_j P_a(j)(0)``.
    """
    perceived = (offer.mean_field - 1.0 / offer.mean_field.shape[1])[answers.market]
    choice = fitted.choice(answers.log_choice, answers.segment, perceived)
    place = answers.market, answers.segment
    share = np.zeros(len(choice))
    own = answers.row_of >= 0
    np.add.at(share, answers.row_of[own], offer.loyalty[own])
    total = np.zeros(offer.loyalty.shape[:2])
    np.add.at(total, place, share)
    share /= total[place]
    probability = np.zeros(offer.loyalty.shape)
    np.add.at(probability, place, share[:, None] * choice)
    empty = ~offer.available.any(axis=1)
    probability[empty, :, 0] = 1.0
    log_sum = np.zeros(total.shape)
    np.add.at(log_sum, place, share * -np.log(np.maximum(choice[:, 0], 1e-300)))
    outside = np.where(own, np.append(choice[:, 0], 0.0)[answers.row_of], probability[:, :, :1])
    loyalty = offer.loyalty * outside
    loyalty[:, :, 1:] += probability[:, :, 1:]
    surplus = log_sum * fitted.money_per_util(offer.regular_price)
    return Response(probability, _quantity(answers, fitted, offer), loyalty, surplus)


def _quantity(answers: PooledAnswers, fitted: Calibration, offer: Offer) -> FloatArray:
    batch, segments, options = answers.row_of.shape
    quantity = np.ones((batch, segments, options - 1))
    if answers.log_units is not None:
        asked = ~np.isnan(answers.log_units[..., 0])
        quantity[asked] = fitted.mean_units(answers.log_units[asked])
    return quantity
