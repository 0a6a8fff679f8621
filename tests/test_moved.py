"""Modules that moved are found at their old places for one version, with a warning, and are the same modules."""

from __future__ import annotations

import subprocess
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec

import pytest

from malles_env._moved import NAMES, moved

OLD = {
    "malles_env.alignment": ["TasteModel", "Persona", "align"],
    "malles_env.alignment.audit": ["audit", "AuditSettings"],
    "malles_env.alignment.rows.shares": ["Popularity"],
    "malles_env.scenarios.twins": ["twin_market"],
    "malles_env.market.mean_field": ["MeanField"],
    "malles_env.data.schema": ["TABLES"],
    "malles_agents.rules": ["cost_plus", "RuleSeller"],
    "malles_agents.policies": ["load_policy"],
}


def test_every_old_place_leads_to_a_module() -> None:
    lost = [f"{old} -> {new}" for old, new in moved().items() if find_spec(new) is None or new in moved()]
    assert not lost


@pytest.mark.parametrize("old", OLD)
def test_an_old_place_warns_and_gives_the_module(old: str) -> None:
    sys.modules.pop(old, None)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        module = import_module(old)
    said = [str(warning.message) for warning in heard if warning.category is DeprecationWarning]
    assert any(words.startswith(f"{old} is now {moved()[old]};") for words in said)
    assert module is import_module(moved()[old])
    assert module.__spec__ is not None and module.__spec__.name == module.__name__ == moved()[old]


def test_names_are_imported_from_old_places_in_a_fresh_process() -> None:
    lines = [f"from {old} import {', '.join(names)}" for old, names in OLD.items()]
    code = "\n".join([*lines, "import pickle", "print(pickle.loads(pickle.dumps(MeanField())) == MeanField())"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_what_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"malles_env\.alignment_of_stars"):
        import_module("malles_env.alignment_of_stars")


@pytest.mark.parametrize("module", NAMES)
def test_old_names_warn_and_are_the_new_ones(module: str) -> None:
    home = import_module(module)
    for pair in NAMES[module].split():
        old, _, new = pair.partition("=")
        with pytest.warns(DeprecationWarning, match=rf"{module}\.{old} is now {new};"):
            assert getattr(home, old) is getattr(home, new)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = home.no_such_name
