"""Distilling a language model that is asked live: a tiny one with random weights, a real forward pass each."""

from dataclasses import replace

import numpy as np
import pytest

from malles_env.consumers.distil import DistilSettings, distil
from malles_env.consumers.distil.asking import identity_of
from malles_env.consumers.prompted import Persona, PromptedConsumers, PromptSettings
from malles_env.errors import InvalidInput
from tests.consumers.distil.cases import subject
from tests.consumers.prompted.models import tiny_model

SETTINGS = DistilSettings(questions=16, fresh=10, batch=8, pool=16, price_transform="log")
ASKED = 16 + 10 + 1 + 2 * 3


@pytest.fixture(scope="module")
def consumers():
    return PromptedConsumers(
        tiny_model(),
        ("Ground coffee 12 oz", "Instant coffee 8 oz", "Espresso beans 16 oz"),
        (Persona("A retired couple."), Persona("A student in a shared flat.")),
        settings=PromptSettings(orders=1),
    )


def test_a_prompted_model_becomes_tastes(consumers, tmp_path):
    path = tmp_path / "answers.jsonl"
    found = distil(subject(consumers), SETTINGS, answers=path)
    assert found.facts["usage"]["requests"] >= 2 * ASKED  # two segments, and their units
    assert found.facts["usage"]["prompt_tokens"] > found.facts["usage"]["requests"]
    assert (found.tastes.beta > 0).all()
    assert np.isfinite(found.fidelity.median)
    assert found.fidelity.median < 0.1  # random weights know no prices: a logit with next to no slopes comes close
    before = consumers.model.usage.requests
    again = distil(subject(consumers), SETTINGS, answers=path)
    assert consumers.model.usage.requests == before
    assert again.fidelity == found.fidelity


def test_another_model_or_wording_is_another_consumer(consumers, tmp_path):
    path = tmp_path / "answers.jsonl"
    quick = replace(SETTINGS, questions=1, fresh=0)
    distil(subject(consumers), quick, answers=path)
    others = (
        replace(consumers, model=tiny_model(1)),
        replace(consumers, settings=PromptSettings(orders=2)),
        replace(consumers, personas=(consumers.personas[0], Persona("A family of five."))),
    )
    assert len({identity_of(each) for each in (consumers, *others)}) == 4
    for other in others:
        with pytest.raises(InvalidInput, match="holds answers to other questions or of other consumers"):
            distil(subject(other), quick, answers=path)
