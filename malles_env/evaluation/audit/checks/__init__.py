"""The tests of the audit, one module for each question that economics asks."""
