"""A scenario from a log of purchases: products, sellers, segments and where they come from."""
