"""Does talking help? Discussions against a single agent."""
