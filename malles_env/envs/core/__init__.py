"""What all faces share: batches of markets, the step of one market, snapshots."""
