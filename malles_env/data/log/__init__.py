"""The log of purchases in its canonical schema: tables, checks of each table, readers."""
