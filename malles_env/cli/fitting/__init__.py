"""Commands that train or fit consumers."""
