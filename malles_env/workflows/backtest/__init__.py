"""Back-test: consumers made from the past before the real prices of later weeks."""
