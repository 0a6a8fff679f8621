"""Estimators of the checks: maximum likelihood, least squares, clustered standard errors."""
