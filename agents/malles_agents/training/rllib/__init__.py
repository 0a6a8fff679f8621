"""Training with RLlib's PPO on a Ray cluster; what it writes plays as any policy of `malles train`."""
