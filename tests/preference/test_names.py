"""What heads know by name: households and lines, in the markets they were trained on and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.features import LIVE_FEATURES
from malles_env.preference.heads.objective import Weights, objective, score
from malles_env.preference.heads.taste_heads import SEEN_LIVE
from malles_env.preference.model import TasteModel, new_heads
from tests.preference.conftest import SIZES, synthetic, tiny_model


def named(data: TasteData) -> TasteData:
    """Return the occasions with names for their households."""
    return replace(data, households=tuple(f"house {at}" for at in range(int(data.household.max()) + 1)))


def knowing(data: TasteData, households: tuple[str, ...]) -> TasteModel:
    """Return a model whose heads for known markets know these households, each with a loud vector."""
    model = tiny_model()
    markets = tuple(data.products.prefixes)
    model.heads = new_heads(model.backbone.width, sizes=SIZES, markets=markets, households=households)
    generator = torch.Generator().manual_seed(0)
    for member in model.heads.warm.members:
        vectors = member.household.vectors.weight.data
        vectors[1:] = torch.randn(vectors[1:].shape, generator=generator)
        for layer in (member.option_out, member.prefix_out):
            layer.weight.data += torch.randn(layer.weight.shape, generator=generator)
    return model


@torch.no_grad()
def answers(model: TasteModel, data: TasteData, *, new: bool = False) -> torch.Tensor:
    return score(data, model.heads, model.reader, new=new).utilities


def test_a_household_known_by_name_answers_as_itself_and_others_as_average_ones() -> None:
    data = named(synthetic(120))
    known = ("house 3", "house 5")
    model = knowing(data, known)
    changed = answers(model, data)
    for member in model.heads.warm.members:
        member.household.vectors.weight.data.zero_()
    average = answers(model, data)
    differs = (changed - average).abs().nan_to_num().amax(1) > 1e-4
    names = np.array(data.households)[data.household]
    np.testing.assert_array_equal(differs.numpy(), np.isin(names, known))
    renamed = replace(data, households=tuple(f"other {at}" for at in range(len(data.households))))
    torch.testing.assert_close(answers(knowing(data, known), renamed), average)


def test_names_count_only_in_markets_trained_on() -> None:
    """Another log may give a number of its own to somebody else."""
    data = named(synthetic(60))
    loud = knowing(data, data.households)
    quiet = knowing(data, data.households)
    for member in quiet.heads.warm.members:
        member.household.vectors.weight.data.zero_()
    assert not torch.equal(answers(loud, data), answers(quiet, data))
    torch.testing.assert_close(answers(loud, data, new=True), answers(quiet, data, new=True))


def test_names_come_back_from_the_file(tmp_path: Path) -> None:
    data = named(synthetic(60))
    model = knowing(data, data.households[:4])
    model.save(tmp_path / "model")
    back = TasteModel.load(tmp_path / "model")
    assert back.heads.households == data.households[:4]
    torch.testing.assert_close(answers(back, data), answers(model, data))


def test_inner_layers_see_no_price() -> None:
    """What they see may move a choice in any direction; a price may not."""
    assert {"log price", "discount"}.isdisjoint(SEEN_LIVE) and set(SEEN_LIVE) <= set(LIVE_FEATURES)
    data = synthetic(40)
    model = tiny_model()
    dearer = replace(data, price=data.price * 1.5)
    with torch.no_grad():
        one, other = (score(part, model.heads, model.reader).option for part in (data, dearer))
    torch.testing.assert_close(one.alpha, other.alpha)
    torch.testing.assert_close(one.beta, other.beta)


def test_the_choice_given_a_purchase_counts_beside_the_joint_one() -> None:
    data = synthetic(80)
    model = tiny_model()
    model.trained_modules().eval()
    plain, _ = objective(data, model.heads, model.reader, Weights(inside=0.0))
    more, parts = objective(data, model.heads, model.reader, Weights(inside=2.0))
    bought = data.chosen > 0
    shares = answers(model, data)[torch.as_tensor(bought), 1:].log_softmax(1)
    places = torch.as_tensor(data.chosen[bought] - 1)
    by_hand = -shares[torch.arange(len(places)), places].sum() / len(data)
    # Members are judged one by one, the answer is that of their mean.
    assert parts["inside"] == pytest.approx(float(by_hand), rel=0.1)
    assert float((more - plain).detach()) == pytest.approx(2.0 * parts["inside"], rel=1e-4)
