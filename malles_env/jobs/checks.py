"""What a machine must have before jobs are done there: the files that jobs name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from malles_env.errors import MissingResource
from malles_env.files import file_hash
from malles_env.jobs.executor import Check


def files_check(specs: Iterable[str]) -> Check:
    """Return a check for the files among names such as ``market.yaml``, ``entry.py`` or ``ppo:runs/a/policy.zip``.

    Args:
        specs: Names of scenarios and sellers; those that name no file are passed over.
    """
    files = {}
    for spec in specs:
        for name in (spec, *(spec.split(":", at)[-1] for at in range(1, spec.count(":") + 1))):
            if name and os.path.isfile(name):
                files[str(Path(name).absolute())] = file_hash(Path(name))
    return (check_files, files)


def check_files(files: dict[str, str]) -> None:
    """Make sure that files are there.

    Args:
        files: SHA-256 in hex by absolute path.

    Raises:
        MissingResource: One is missing or another.
    """
    for name, wanted in files.items():
        if not os.path.isfile(name):
            raise MissingResource(f"has no {name}: copy it there, or work in a folder that all machines share")
        if file_hash(Path(name)) != wanted:
            raise MissingResource(f"has another {name}: copy it there, or work in a folder that all machines share")
