"""What all environments share: batches of markets, the step of one market, snapshots."""
