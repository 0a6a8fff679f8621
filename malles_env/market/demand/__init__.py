"""What consumers want of a shelf: choice and surplus, and what moves tastes from period to period."""
