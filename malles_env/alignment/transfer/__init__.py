"""Do words carry: consumers judged on categories, customers and launches they never saw, with names true and shuffled."""
