"""Causal checks of price response: other stores' prices, weeks around deals, price regimes never trained on.

Each check needs a log with choice occasions and no model; taste models are put beside the data's own estimates on the
same purchases. What the checks identify, and what they do not, stands in docs/guide/validate.md.
"""
