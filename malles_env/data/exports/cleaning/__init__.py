"""The rows of an export as typed purchases: which are kept, and what they belong to."""
