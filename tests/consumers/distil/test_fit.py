from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from malles_env.consumers import LogitConsumers
from malles_env.consumers.distil import Design, Experiment, fit, fresh_states
from malles_env.consumers.distil.features import Layout
from malles_env.consumers.distil.fidelity import total_variation
from malles_env.consumers.distil.fit import fit_choice, held_out_loss
from malles_env.consumers.distil.newton import choice_loss, minimise, units_loss
from malles_env.errors import InvalidInput
from malles_env.evaluation.audit.subject import Asker
from malles_env.market import Tastes
from malles_env.market.demand.choice import respond
from tests.consumers.distil.cases import Hidden, Sampled, subject, tastes


def experiment(consumers, questions: int = 40, seed: int = 0) -> tuple[Experiment, object]:
    market = subject(consumers)
    offer = Design().draw(market, questions, (seed,))
    return Experiment(offer, Asker().ask(consumers, offer), market.weights), market


def distances(found: Tastes, consumers, market, states: int = 100) -> np.ndarray:
    offer = fresh_states(market, states, 99, shares=True)
    return total_variation(respond(found, offer).probability, consumers.respond(offer).probability)


@pytest.mark.parametrize("transform", ["log", "linear"])
def test_exact_answers_give_the_tastes_back(transform):
    truth = tastes(1, transform)
    answered, market = experiment(LogitConsumers(truth))
    found = fit(answered).tastes(market.regular_price)
    assert found.price_transform == transform
    assert distances(found, LogitConsumers(truth), market).max() < 1e-4
    for name in ("alpha", "beta", "gamma", "rho", "lambda_", "kappa", "delta"):
        np.testing.assert_allclose(getattr(found, name), getattr(truth, name), atol=2e-2, err_msg=name)


def test_eight_questions_are_enough_for_exact_answers():
    consumers = LogitConsumers(tastes(2))
    answered, market = experiment(consumers, 8)
    assert distances(fit(answered).tastes(market.regular_price), consumers, market).max() < 1e-2


def test_sampled_answers_get_better_with_their_number():
    truth = tastes(3)
    errors = []
    for questions in (12, 192):
        answered, market = experiment(Sampled(truth), questions)
        errors.append(
            np.median(distances(fit(answered, "log").tastes(market.regular_price), LogitConsumers(truth), market))
        )
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.03


def test_cross_validation_holds_back_on_few_noisy_answers():
    answered, market = experiment(Sampled(tastes(3), draws=5), 12)
    chosen = fit(answered, "log")
    loose = fit(answered, "log", 1e-6)
    assert chosen.strength > 1e-4
    truth = LogitConsumers(tastes(3))
    at = market.regular_price
    assert np.median(distances(chosen.tastes(at), truth, market)) < np.median(
        distances(loose.tastes(at), truth, market)
    )


def test_signs_hold_even_where_answers_have_none():
    """Consumers who take high prices for quality, and avoid discounts."""
    market = subject(LogitConsumers(tastes()))
    offer = Design().draw(market, 40, (0,))
    snob = Offers(market.regular_price)
    answered = Experiment(offer, Asker().ask(snob, offer), market.weights)
    found = fit(answered, "log").tastes(market.regular_price)
    assert (found.beta > 0).all()
    assert (found.beta < 1e-3).all()
    assert (found.gamma >= 0).all()
    assert (found.delta >= 0).all()


class Offers:
    """Answers with utilities that rise with prices."""

    num_segments, num_products = 3, 4

    def __init__(self, regular):
        self.regular = regular

    def respond(self, offer):
        from malles_env.market import Response

        exp_u = np.where(offer.available, (offer.prices / self.regular) ** 2, 0.0)
        probability = np.concatenate([np.ones((len(exp_u), 1)), exp_u], axis=1)
        probability = np.repeat((probability / probability.sum(axis=1, keepdims=True))[:, None], 3, axis=1)
        units = 1.0 + np.repeat((offer.prices / self.regular)[:, None], 3, axis=1)
        return Response(probability, units, offer.loyalty, np.zeros((len(exp_u), 3)))


def test_hidden_classes_are_fitted_as_well_as_a_logit_can():
    first = tastes(4)
    other = replace(first, alpha=first.alpha[:, ::-1] + 0.5, beta=3.0 * first.beta)
    consumers = Hidden((first, other))
    answered, market = experiment(consumers, 120)
    found = distances(fit(answered, "log").tastes(market.regular_price), consumers, market)
    single = distances(first, consumers, market)
    assert 0.005 < np.median(found) < 0.1  # honest: not zero
    assert np.median(found) < 0.4 * np.median(single)


def test_one_unit_always_is_fitted_as_such():
    truth = replace(tastes(5), kappa=np.full((3, 4), -np.inf), delta=np.zeros(3))
    answered, market = experiment(LogitConsumers(truth), 20)
    found = fit(answered, "log").tastes(market.regular_price)
    offer = fresh_states(market, 20, 0)
    np.testing.assert_allclose(respond(found, offer).quantity, 1.0, atol=1e-6)


def test_derivatives_of_the_losses_are_exact():
    answered, _ = experiment(LogitConsumers(tastes(6)), 6)
    layout = Layout(4, "log")
    features = layout.features(answered.offer, 1)
    rng = np.random.default_rng(0)
    extra = answered.answers.quantity[:, 1] - 1.0
    units = np.concatenate([np.broadcast_to(np.eye(4), (6, 4, 4)), features[..., -3:-2]], axis=2)
    for loss, size in (
        (choice_loss(features, answered.offer.available, answered.answers.probability[:, 1]), layout.size),
        (units_loss(units, answered.offer.available, extra), 5),
    ):
        theta = rng.normal(0.0, 0.3, size)
        _, gradient, hessian = loss(theta)
        np.testing.assert_allclose(gradient, approx_fprime(theta, lambda at, f=loss: f(at)[0]), atol=1e-5)
        np.testing.assert_allclose(hessian, approx_fprime(theta, lambda at, f=loss: f(at)[1]), atol=1e-5)


def test_the_optimum_is_that_of_another_optimiser():
    answered, _ = experiment(Sampled(tastes(7), draws=8), 30)
    layout = Layout(4, "log")
    plain = choice_loss(
        layout.features(answered.offer, 0), answered.offer.available, answered.answers.probability[:, 0]
    )

    def ridged(theta):
        value, gradient, hessian = plain(theta)
        return value + 0.01 * theta @ theta, gradient + 0.02 * theta, hessian + 0.02 * np.eye(len(theta))

    start = np.zeros(layout.size)
    ours = minimise(ridged, start, layout.low)
    bounds = [(low if np.isfinite(low) else None, None) for low in layout.low]
    precise = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000}
    begin = np.maximum(start, layout.low)
    theirs = minimize(lambda t: ridged(t)[:2], begin, jac=True, bounds=bounds, method="L-BFGS-B", options=precise)
    assert ridged(ours)[0] <= theirs.fun + 1e-9
    np.testing.assert_allclose(ours, theirs.x, atol=1e-3)


def test_a_product_never_listed_keeps_the_others_coefficients():
    truth = tastes(8)
    market = subject(LogitConsumers(truth))
    offer = Design().draw(market, 30, (0,))
    offer.available[:, 2] = False
    offer.available[:, 0] = True
    answered = Experiment(offer, Asker().ask(LogitConsumers(truth), offer), market.weights)
    theta = fit_choice(answered, Layout(4, "log"), 1e-6)
    assert np.isfinite(theta).all()
    np.testing.assert_allclose(theta[:, [0, 1, 3]], truth.alpha[:, [0, 1, 3]], atol=1e-2)


def test_the_right_transform_predicts_held_out_answers_better():
    answered, _ = experiment(LogitConsumers(tastes(9, "linear")), 24)
    assert held_out_loss(answered, "linear", 1e-4) < 0.1 * held_out_loss(answered, "log", 1e-4)


def test_no_answers_are_no_fit():
    answered, _ = experiment(LogitConsumers(tastes()), 4)
    with pytest.raises(InvalidInput, match="questions: got 0"):
        fit(answered.take(np.array([], dtype=int)))
