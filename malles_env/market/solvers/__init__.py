"""Answers of a market's games and problems: equilibria, assortments, dynamic programs, closed forms."""
