"""Choice occasions, personas and products as the words and numbers that a taste model reads."""
