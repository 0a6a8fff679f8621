"""Commands that train sellers, compare them and reproduce published results."""
