"""The consumers that a scenario file asks for, one module for each kind."""
