"""Markets made of words: scenarios from the gift wholesaler's log, whose consumers' tastes are read off names."""
