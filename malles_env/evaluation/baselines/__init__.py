"""Rows of the comparison: what a taste model must beat, each fitted and asked in the same way."""
