"""From a name's states in an encoder to what is bought together with it: a map that training learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.evaluation.transfer.word_model.copurchase import within
from malles_env.type_aliases import Float32Array, IntArray

OWN = 0.3
"""Weight of a trained product's own vector against the one that its name says."""
_SPREAD = 6.0
CLIP = 3.0
"""Largest similarity; those of two random products have a standard deviation of a sixth."""


def centred_states(readings: Float32Array, means: Float32Array, parts: int) -> Float32Array:
    """Return states less those of their category, every layer's of length 1 over the root of their number [N, F].

    Args:
        readings: All layers of each name, one after the other [N, F].
        means: Those of its category [N, F].
        parts: Number of layers.
    """
    layers = (readings - means).reshape(len(readings), parts, -1)
    length = np.linalg.norm(layers, axis=2, keepdims=True) * np.sqrt(parts)
    states: Float32Array = (layers / np.maximum(length, 1e-9)).reshape(len(readings), -1).astype(np.float32)
    return states


@dataclass(frozen=True)
class WordMap:
    """A linear map from states to taste vectors, and the vectors of products that it was trained on.

    Attributes:
        weights: The map [F, D].
        scale: What inner products are divided by.
    """

    weights: Float32Array
    scale: float

    @classmethod
    def fit(cls, states: Float32Array, rows: IntArray, vectors: Float32Array, penalty: float) -> WordMap:
        """Fit by ridge regression, solved over products since they are fewer than states.

        Args:
            states: Of all names [P, F].
            rows: Products trained on [N].
            vectors: Their taste vectors [N, D].
            penalty: Shrinkage, in mean squared lengths of a state.
        """
        known = states[rows].astype(np.float64)
        gram = known @ known.T
        gram[np.diag_indices(len(rows))] += penalty * np.trace(gram) / len(rows)
        weights = (known.T @ np.linalg.solve(gram, vectors.astype(np.float64))).astype(np.float32)
        projected = states @ weights
        spread = np.sqrt(np.sum((projected.T @ projected) * (vectors.T @ vectors))) / np.sqrt(
            len(projected) * len(vectors)
        )
        return cls(weights, float(_SPREAD * spread))

    def similarity(self, option: Float32Array, bought: Float32Array) -> Float32Array:
        """Return how much two products are bought together, scaled and clipped [N, M].

        Args:
            option: Vectors that names say [N, D].
            bought: Vectors of what was bought [M, D].
        """
        return np.clip(option @ bought.T / self.scale, -CLIP, CLIP)


def name_vectors(word_map: WordMap, states: Float32Array, market: IntArray) -> Float32Array:
    """Return the taste vectors that names say, less their category's mean [P, D].

    Args:
        word_map: The map.
        states: Of all names [P, F].
        market: Their categories [P].
    """
    return within(states @ word_map.weights, market)


def bought_vectors(named: Float32Array, rows: IntArray, vectors: Float32Array) -> Float32Array:
    """Return the vectors of products as purchases: what their names say, and their own where they were trained on.

    Args:
        named: What names say [P, D].
        rows: Products trained on [N].
        vectors: Their own [N, D].
    """
    found = named.copy()
    found[rows] = OWN * vectors + (1 - OWN) * named[rows]
    return found
