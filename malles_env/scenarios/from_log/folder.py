"""A scenario from a folder of transactions in one call: what `Scenario.from_log` does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from malles_env.errors import InvalidInput
from malles_env.scenarios.from_log.build import build_scenario
from malles_env.scenarios.from_log.choices import BuildChoices
from malles_env.scenarios.from_log.provenance import log_origin
from malles_env.scenarios.schema import Scenario


def scenario_of_folder(
    folder: str | os.PathLike[str], market: str, *, name: str, settings: str | os.PathLike[str] | None = None,
    forces: Mapping[str, Any] | None = None, **choices: Any,
) -> Scenario:  # fmt: skip
    """Return the scenario of a market of the log in a folder, see `Scenario.from_log`."""
    from malles_env.data.checks import read_settings
    from malles_env.data.log.readers import read_tables

    known = [field.name for field in fields(BuildChoices) if field.name != "name"]
    for choice in choices:
        if choice not in known:
            near = get_close_matches(choice, known, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise InvalidInput(f"{choice}: there is no such choice{hint}; allowed: {', '.join(known)}")
    given = {"title": market.rsplit("|", 1)[-1].strip().capitalize(), **choices}
    own = Path(folder) / "settings.yaml"
    file = Path(settings) if settings is not None else own if own.is_file() else None
    arguments = [repr(os.fspath(folder)), repr(market), *(f"{key}={value!r}" for key, value in choices.items())]
    return build_scenario(
        market,
        BuildChoices(name=name, **given),
        made_by=f"Scenario.from_log({', '.join(arguments)})",
        forces=forces,
        tables=read_tables(os.fspath(folder)),
        settings=None if file is None else read_settings(file),
        origin=log_origin(os.fspath(folder)),
    )
