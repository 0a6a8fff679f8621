"""Finds, reads, checks and writes scenario files."""

from __future__ import annotations

import logging
import os
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from malles_env.files import write_text
from malles_env.scenarios.blocks.entries import AlignedEntry
from malles_env.scenarios.messages import explain
from malles_env.scenarios.schema import Scenario
from malles_env.yaml_files import parse_yaml, read_numbers_as_they_look, read_plain_text

logger = logging.getLogger(__name__)
_HOME = Path(__file__).parent


def list_scenarios() -> list[str]:
    """Return the names of the bundled scenarios, sorted."""
    return sorted(path.stem for path in _HOME.glob("*.yaml"))


def load_scenario(source: str | os.PathLike[str] | Scenario) -> Scenario:
    """Return a scenario.

    Args:
        source: Name of a bundled scenario, path of a ``.yaml`` file, or a scenario (returned as it is).

    Raises:
        InvalidInput: No such name, or a field that is not allowed; one line per problem.
        MissingResource: No such file.
        CorruptFile: The file is not YAML; names the line.
    """
    if isinstance(source, Scenario):
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise InvalidInput(f"scenario: got {source!r}; allowed: a name, a path or a Scenario")
    text = os.fspath(source)
    if not isinstance(source, str) or Path(text).suffix in (".yaml", ".yml") or os.sep in text:
        return _read(Path(text))
    return _bundled(text)


@cache
def _bundled(name: str) -> Scenario:
    names = list_scenarios()
    if name in names:
        return _read(_HOME / f"{name}.yaml")
    near = get_close_matches(name, names, 2, 0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise InvalidInput(f"scenario: got {name!r}; {hint}allowed: {', '.join(names)}, or the path of a .yaml file")


def _read(path: Path) -> Scenario:
    try:
        text = read_plain_text(path)
    except MissingResource:
        names = ", ".join(list_scenarios())
        raise MissingResource(f"{path}: there is no such scenario file; bundled scenarios: {names}") from None
    return parse_scenario(text, path.name)


def parse_scenario(text: str, source: str = "scenario") -> Scenario:
    """Return the scenario that a YAML text describes.

    Args:
        text: YAML.
        source: Name used in errors.

    Raises:
        InvalidInput: A field that is not allowed; one line per problem.
        CorruptFile: The text is not YAML, or no mapping of fields.
    """
    fields = parse_yaml(text, source)
    if not isinstance(fields, dict):
        kind = "nothing" if fields is None else f"a {type(fields).__name__}"
        raise CorruptFile(f"{source}: holds {kind} where the fields of a scenario should be")
    try:
        found = Scenario.model_validate(fields)
    except ValidationError as error:
        raise explain(error, source, Scenario) from None
    if found.format == 1 and isinstance(found.consumers, AlignedEntry):
        _tell_of_format_1(source)
    return found


@cache
def _tell_of_format_1(source: str) -> None:
    """Say once per file what its words mean now."""
    logger.warning(
        "%s: format 1; the mean field is now centred at long-run shares, and a discount no longer brings display or "
        "advertising of its own (docs/guide/scenarios.md); write `format: 2` to accept",
        source,
    )


def save_scenario(scenario: Scenario, path: str | os.PathLike[str]) -> Path:
    """Write a scenario to a YAML file, whole or not at all; fields at their defaults are left out.

    Returns:
        The path written.

    Raises:
        InvalidInput: The path cannot be written.
    """
    fields = scenario.model_dump(mode="json", exclude_defaults=True)
    text = yaml.dump(fields, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return write_text(Path(path), text)


class _Dumper(yaml.SafeDumper):
    """A safe dumper that writes a table of numbers on as few lines as it needs."""

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        """Represent a mapping, in flow style when it holds numbers only."""
        numbers = bool(mapping) and all(isinstance(value, (int, float)) for value in dict(mapping).values())
        return super().represent_mapping(tag, mapping, True if numbers else flow_style)

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        """Represent a list, in flow style when it holds numbers only."""
        numbers = bool(sequence) and all(isinstance(value, (int, float)) for value in sequence)
        return super().represent_sequence(tag, sequence, True if numbers else flow_style)


read_numbers_as_they_look(_Dumper)
