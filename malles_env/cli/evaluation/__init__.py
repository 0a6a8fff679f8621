"""Commands that judge consumers, and the markets they make."""
