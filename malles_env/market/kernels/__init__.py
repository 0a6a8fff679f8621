"""The compiled period: responses, purchases, stock and money of many markets at once."""
