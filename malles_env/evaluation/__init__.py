"""Evaluation: whether consumers, of whatever kind, behave as the data say real ones do."""
