"""Training of Stable-Baselines3 sellers."""
