"""Sellers for malles_env."""
