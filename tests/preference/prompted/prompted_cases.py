"""Shelves, a small log and tiny prompted models shared by the tests of the prompted consumer."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from malles_env.data import BuildSettings, Occasions, build_occasions, synthetic_transactions
from malles_env.preference.prompted.data import PromptData
from malles_env.preference.prompted.model import PromptedModel
from malles_env.preference.prompted.trainer import PromptConfig
from malles_env.workflows.align_prompted import tokenizer_texts

QUICK = PromptConfig(steps=6, batch_size=24, validate_every=2, warmup=1, patience=50)


def shelves(size: int = 120, *, seed: int = 0, products: int = 4, loyal: float = 0.9) -> PromptData:
    """Return occasions on a handful of shelves; buyers repeat their last purchase with probability `loyal`."""
    rng = np.random.default_rng(seed)
    kinds = 6
    kind = rng.integers(0, kinds, size)
    regular = np.array([2.0, 3.0, 4.0, 5.0, 6.0])[:products]
    depth = np.random.default_rng(99).choice([0.0, 0.1, 0.25], (kinds, products))
    # Each occasion lists the same shelf in an order of its own.
    order = np.stack([rng.permutation(products) for _ in range(size)])
    last = rng.integers(0, products, size)
    pick = np.where(rng.random(size) < loyal, last, rng.integers(0, products, size))
    chosen = np.where(rng.random(size) < 0.3, 0, 1 + (order == pick[:, None]).argmax(1))
    listed_last = order == last[:, None]
    return PromptData(
        products=tuple(f"maker {j}, national brand, {10 + j} oz" for j in range(products)),
        markets=("COFFEE | GROUND COFFEE",),
        product=order,
        market=np.zeros(size, dtype=np.int64),
        household=rng.integers(0, size // 3 + 1, size),
        price=(regular * (1 - depth[kind]))[np.arange(size)[:, None], order],
        regular_price=regular[order],
        promotion=depth[kind][np.arange(size)[:, None], order] > 0.2,
        bought=2 * listed_last.astype(np.int64),
        last=listed_last,
        share=np.array([0.4, 0.3, 0.2, 0.06, 0.04])[:products][order],
        mask=np.ones((size, products), dtype=bool),
        chosen=chosen,
        quantity=np.where(chosen > 0, 1 + rng.integers(0, 3, size), 0),
        log_sampling=np.full(size, np.log(2.0)),
        history_total=np.full(size, 2),
        weeks_seen=np.full(size, 9),
    )


@cache
def few_occasions() -> Occasions:
    """Return the occasions of a small synthetic log."""
    tables, _ = synthetic_transactions(seed=3, num_households=40)
    settings = BuildSettings(min_line_purchases=10, min_line_households=3, min_market_purchases=50)
    return build_occasions(tables, settings)


def tiny(prior: float = 0.0, *, seed: int = 0, reference: str = "none", beta: float = 1.0) -> PromptedModel:
    """Return a small random model whose label logits differ."""
    texts = tokenizer_texts(shelves())
    model = PromptedModel.embedded(
        texts, width=32, layers=2, vocabulary=320, seed=seed, prior=prior, reference=reference, beta=beta
    )
    with torch.no_grad():
        model.embeddings.mul_(5)
        if model.base is not None:
            model.base.load_state_dict(model.backbone.model.state_dict())
    return model


def pretrained(folder: Path) -> Path:
    """Write a "pre-trained" body in transformers' layout, for the path that loads one by its directory."""
    backbone = tiny().backbone
    backbone.model.save_pretrained(folder)
    backbone.encoder.tokenizer.save(str(folder / "tokenizer.json"))
    return folder
