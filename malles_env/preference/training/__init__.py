"""Training of taste models: settings, the training loop, runs on disk, each market's own terms."""
