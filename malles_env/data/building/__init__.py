"""Choice occasions from a log: visits, shelves, prices and histories."""
