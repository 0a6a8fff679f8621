"""Turns pydantic's findings into one readable line per problem: place, value, what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from malles_env.errors import InvalidInput, invalid

_TAGS = ("logit", "aligned", "prompted", "aligned_prompted", "discussion")
_ALLOWED = {
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "less than {lt:g}",
    "finite_number": "a finite number",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text (numbers need quotes)",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "one line of text without control or invisible characters and without brackets",
    "string_too_short": "text of at least {min_length} character",
    "too_short": "at least {min_length} entry",
    "too_long": "at most {max_length} entries",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of fields to values",
    "model_attributes_type": "a mapping of fields to values",
    "literal_error": "{expected}",
    "union_tag_invalid": "{expected_tags}",
}


def explain(error: ValidationError, source: str, model: type[BaseModel]) -> InvalidInput:
    """Return an error with one line per problem, each starting with `source`.

    Args:
        error: What pydantic found.
        source: Name of the file, or of whatever was checked.
        model: The model that was checked.
    """
    lines: list[str] = []
    for finding in error.errors(include_url=False):
        if finding["type"] == "too_short" and finding["input"]:
            continue  # the entries are there, but wrong: they have their own lines
        for line in _line(dict(finding), model).splitlines():
            full = f"{source}: {line}"
            if full not in lines:
                lines.append(full)
    return InvalidInput("\n".join(lines))


def _line(finding: dict[str, Any], model: type[BaseModel]) -> str:
    steps = [step for step in finding["loc"] if step not in _TAGS]
    place, kind, found = _path(steps), finding["type"], finding["input"]
    context = finding.get("ctx", {})
    if kind == "value_error":
        return _joined(place, str(context["error"]))
    if kind == "missing":
        return f"{place}: is missing; it must be given"
    if kind == "union_tag_not_found":
        return f"{place}.kind: is missing; allowed: {', '.join(map(repr, _TAGS))}"
    if kind == "extra_forbidden":
        return _unknown_field(place, finding, model)
    if kind == "union_tag_invalid":
        place, found = f"{place}.kind", context["tag"]
    allowed = _ALLOWED[kind].format(**context) if kind in _ALLOWED else finding["msg"].lower()
    return str(invalid(place, found, allowed))


def _unknown_field(place: str, finding: dict[str, Any], model: type[BaseModel]) -> str:
    fields = list(_model_at(finding["loc"][:-1], model).model_fields)
    near = get_close_matches(str(finding["loc"][-1]), fields, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{place}: there is no such field{hint}; allowed: {', '.join(fields)}"


def _model_at(steps: Sequence[int | str], model: type[BaseModel]) -> type[BaseModel]:
    """Follow `steps` from `model` through fields, list positions and union tags."""
    options = [model]
    for step in steps:
        if step in _TAGS:
            options = [option for option in options if step in _kinds(option)]
        elif isinstance(step, str):
            options = _models_in(options[0].model_fields[step].annotation)
    return options[0]


def _kinds(model: type[BaseModel]) -> tuple[object, ...]:
    return get_args(model.model_fields["kind"].annotation)


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _path(steps: Sequence[int | str]) -> str:
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text or "scenario"


def _joined(place: str, message: str) -> str:
    if place == "scenario":
        return message
    return f"{place}{message}" if message.startswith((":", "[")) else f"{place}: {message}"
