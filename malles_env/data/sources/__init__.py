"""Logs that are known by name: the Complete Journey, a gift wholesaler, synthetic purchases."""
