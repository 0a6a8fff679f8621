"""Studies behind the documentation, run from a clone: `python -m research.NAME`."""
