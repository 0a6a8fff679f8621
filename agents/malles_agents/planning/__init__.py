"""The best constant actions and plans of one seller, found by search or known exactly."""
