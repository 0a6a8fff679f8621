"""From embeddings and features to coefficients with the right signs, their utility and their losses."""
