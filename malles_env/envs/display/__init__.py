"""Episodes kept and drawn."""
