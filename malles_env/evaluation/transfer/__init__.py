"""Do words carry: consumers judged on categories, customers and launches never seen, names true and shuffled."""
