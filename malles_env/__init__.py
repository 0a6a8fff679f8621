"""A sandbox in which pricing policies meet consumers learned from real transactions."""
