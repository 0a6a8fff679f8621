"""Logged play with propensities, and what it says of other policies: off-policy evaluation."""
