"""Taste models on disk: weights, cards, and where they are found."""
