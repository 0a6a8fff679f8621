"""The word model: what customers bought, by its names, against what else they buy by its names."""
