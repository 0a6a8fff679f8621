"""The files of an export as tables whose columns are known."""
