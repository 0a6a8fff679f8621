"""Policies trained with Stable-Baselines3 as sellers."""
