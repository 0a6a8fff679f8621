"""Settings of the build from a small YAML or JSON file, for logs the defaults do not fit."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from malles_env.data.settings import BuildSettings
from malles_env.data.splits import Splits
from malles_env.errors import invalid
from malles_env.yaml_files import parse_yaml, read_plain_text


def read_settings(path: str | Path) -> BuildSettings:
    """Read settings; what the file leaves out keeps its default.

    Args:
        path: YAML or JSON mapping of fields of `BuildSettings`; ``splits`` is a mapping of fields of `Splits`.

    Returns:
        The settings.

    Raises:
        MissingResource: No such file.
        CorruptFile: The file is no YAML.
        InvalidInput: An unknown field, a value of another type or out of range; a file that is too large or too deep.
    """
    path = Path(path)
    return settings_from(parse_yaml(read_plain_text(path), str(path)), str(path))


def settings_from(content: Any, source: str) -> BuildSettings:
    """Return settings from plain values.

    Args:
        content: Mapping of fields of `BuildSettings`, or None for the defaults.
        source: File name to stand in errors.

    Raises:
        InvalidInput: An unknown field, a value of another type or out of range.
    """
    values = _known(content or {}, BuildSettings(), source)
    if "splits" in values:
        splits = _known(values["splits"], Splits(), f"{source}: splits")
        values["splits"] = Splits(**splits)
    return BuildSettings(**values)


def _known(content: Any, defaults: Any, source: str) -> dict[str, Any]:
    """Return the mapping with values of the defaults' types."""
    if not isinstance(content, dict):
        raise invalid(source, content, "a mapping of settings")
    names = [field.name for field in fields(defaults)]
    for name in content:
        if name not in names:
            raise invalid(source, name, f"one of {', '.join(names)}")
    return {name: _typed(value, getattr(defaults, name), f"{source}: {name}") for name, value in content.items()}


def _typed(value: Any, default: Any, source: str) -> Any:
    if isinstance(default, frozenset):
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise invalid(source, value, "a list of names")
        return frozenset(value)
    if isinstance(default, int) and (isinstance(value, bool) or not isinstance(value, int)):
        raise invalid(source, value, "a whole number")
    if isinstance(default, float) and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise invalid(source, value, "a number")
    return value
