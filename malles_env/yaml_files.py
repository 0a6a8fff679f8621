"""YAML that a stranger may have written: bounded in size, depth and expansion, and read as it looks.

Differences from YAML 1.1 as PyYAML reads it: ``1:30`` and ``010`` are texts, not the numbers 90 and 8; ``1e5`` is a
number; a key written twice, a key that is a list or mapping, and a list that holds itself are errors.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import yaml

from malles_env.errors import CorruptFile, InvalidInput, MallesError, MissingResource, brief

MOST_BYTES = 1_000_000
MOST_NODES = 200_000
"""Texts, lists and mappings in all, each alias counted as often as it stands there."""
DEEPEST = 20
MOST_DIGITS = 30
_FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
INTEGER = re.compile(r"^[-+]?(?:0|[1-9][0-9_]{0,29})$")
_LONG = re.compile(rf"^[-+]?[0-9_]{{{MOST_DIGITS + 1},}}$")
FLOAT = re.compile(
    r"^(?:[-+]?(?:[0-9][0-9_]{0,39}\.[0-9_]{0,400}|\.[0-9][0-9_]{0,400})(?:[eE][-+]?[0-9]{1,4})?"
    r"|[-+]?[0-9][0-9_]{0,39}[eE][-+]?[0-9]{1,4}"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)


def read_plain_text(path: Path, most: int = MOST_BYTES) -> str:
    """Return the text of a plain file of bounded size.

    Args:
        path: The file.
        most: Bytes it may have.

    Raises:
        MissingResource: There is no such file.
        InvalidInput: It is a folder, a pipe or a device, too large, or cannot be read.
        CorruptFile: It is not UTF-8.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise InvalidInput(f"{path}: is a folder; allowed: a file")
        if not stat.S_ISREG(found.st_mode):
            raise InvalidInput(f"{path}: is no plain file (a pipe or a device); allowed: a file on disk")
        if found.st_size > most:
            raise InvalidInput(f"{path}: has {found.st_size:,} bytes; allowed: at most {most:,}")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingResource(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise InvalidInput(f"{str(path)[:200]}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        if isinstance(error, (InvalidInput, CorruptFile)):
            raise
        raise InvalidInput(f"{str(path)!r}: cannot be read ({brief(error)})") from None


def parse_yaml(text: str, source: str) -> Any:
    """Return what a YAML text holds: dicts, lists, texts, numbers, truth values, dates and None.

    Args:
        text: YAML.
        source: Name used in errors.

    Raises:
        CorruptFile: It is no YAML; names the line.
        InvalidInput: It is too large or too deep, or holds itself.
    """
    if len(text) > MOST_BYTES:
        raise InvalidInput(f"{source}: has {len(text):,} characters; allowed: at most {MOST_BYTES:,}")
    try:
        _check_shape(text, source)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise CorruptFile(f"{source}: is not valid YAML{_where(error)}") from None
    except MallesError:
        raise
    except Exception as error:  # a value that does not fit its tag, e.g. !!timestamp x, raises what it likes
        raise CorruptFile(f"{source}: is not valid YAML ({brief(error)})") from None


def _check_shape(text: str, source: str) -> None:
    """Walk through the text without building anything, so that aliases and depth cost nothing."""
    sizes: dict[Any, int] = {}
    open_: list[tuple[str | None, int]] = []
    size = 0
    event: Any
    for event in yaml.parse(text, Loader=_FAST):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_):
                raise InvalidInput(f"{source}: line {line}: *{event.anchor} holds itself; allowed: what ends somewhere")
            size += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, size))
            size += 1
            if len(open_) > DEEPEST:
                raise InvalidInput(f"{source}: line {line}: is nested deeper than {DEEPEST} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor is not None:
                sizes[anchor] = size - before
        elif isinstance(event, yaml.ScalarEvent):
            size += 1
            if event.implicit[0] and _LONG.match(event.value):
                message = (
                    f"a number of {len(event.value):,} digits; allowed: at most {MOST_DIGITS}, or text between quotes"
                )
                raise InvalidInput(f"{source}: line {line}: {message}")
        if size > MOST_NODES:
            raise InvalidInput(f"{source}: line {line}: more than {MOST_NODES:,} entries, aliases counted")


class _Loader(_FAST):  # type: ignore[misc]
    """A safe loader that refuses keys it would lose or cannot have, and reads numbers as they look."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in known if tag.rpartition(":")[2] in ("bool", "null", "merge")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping whose keys are single values that differ."""
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _problem("a key is a list or a mapping", key_node)
            if key_node.value in seen:
                raise _problem(f"the key {key_node.value[:80]!r} stands there twice", key_node)
            seen.add(key_node.value)
        built: dict[Any, Any] = super().construct_mapping(node, deep)
        return built


def _problem(words: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, words, node.start_mark)


def read_numbers_as_they_look(kind: Any) -> None:
    """Let a loader take for numbers what this module does, or a dumper put the texts that look so between quotes."""
    kind.add_implicit_resolver("tag:yaml.org,2002:int", INTEGER, list("-+0123456789"))
    kind.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))


read_numbers_as_they_look(_Loader)


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None)
    place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{place}: {problem}" if problem else place
