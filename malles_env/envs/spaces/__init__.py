"""What agents say and see: actions and observations as numbers, and the way to money and units and back."""
