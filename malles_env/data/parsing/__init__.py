"""Dates, numbers, package sizes and text tables as people write them."""
