"""Products that nobody has sold yet, added to a scenario by name and price."""

from malles_env.scenarios.adding.add import Added, add_product

__all__ = ["Added", "add_product"]
