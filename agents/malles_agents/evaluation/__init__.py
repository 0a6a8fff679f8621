"""Sellers compared in the same place, against the same rivals, on the same seeds."""
