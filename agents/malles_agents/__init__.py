"""Sellers for malles_env."""

from malles_env._moved import install as _install

_install()
