"""Sellers: rules, bandits, known optima, language models and trained policies."""
