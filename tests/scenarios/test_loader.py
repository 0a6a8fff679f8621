import subprocess
import sys
from pathlib import Path

import pytest

from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from malles_env.scenarios import list_scenarios, load_scenario, parse_scenario, save_scenario
from tests.scenarios.texts import ALIGNED, GOOD


@pytest.mark.parametrize("text", [GOOD, ALIGNED])
def test_what_is_saved_is_read_back(tmp_path, text):
    scenario = parse_scenario(text)
    path = save_scenario(scenario, tmp_path / "deep" / "it.yaml")
    assert load_scenario(path) == scenario
    assert load_scenario(str(path)) == scenario
    assert [entry.name for entry in path.parent.iterdir()] == ["it.yaml"]


def test_a_failed_save_leaves_nothing_behind(tmp_path):
    (tmp_path / "it.yaml").mkdir()
    with pytest.raises(InvalidInput, match=r"it\.yaml: cannot be written \(Is a directory\)"):
        save_scenario(parse_scenario(GOOD), tmp_path / "it.yaml")
    assert [entry.name for entry in tmp_path.iterdir()] == ["it.yaml"]


def test_a_scenario_is_returned_as_it_is():
    scenario = parse_scenario(GOOD)
    assert load_scenario(scenario) is scenario


def test_bundled_names_are_read_once():
    assert load_scenario("bertrand-duopoly") is load_scenario("bertrand-duopoly")


def test_an_unknown_name_is_answered_with_the_bundled_ones():
    with pytest.raises(InvalidInput, match="scenario: got 'soft-drink'; did you mean soft-drinks") as caught:
        load_scenario("soft-drink")
    assert all(name in str(caught.value) for name in list_scenarios())


def test_a_missing_file_a_folder_and_a_wrong_type(tmp_path):
    with pytest.raises(
        MissingResource, match=r"nowhere\.yaml: there is no such scenario file; bundled scenarios: bertrand"
    ):
        load_scenario(tmp_path / "nowhere.yaml")
    with pytest.raises(InvalidInput, match="is a folder"):
        load_scenario(tmp_path)
    with pytest.raises(InvalidInput, match="scenario: got 3; allowed: a name, a path or a Scenario"):
        load_scenario(3)


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "it.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(CorruptFile, match=r"it\.yaml: is not UTF-8 text \(byte 6\)"):
        load_scenario(path)


def test_the_import_is_light():
    heavy = ("torch", "transformers", "polars", "numba", "matplotlib", "stable_baselines3", "rich")
    code = f"import sys, malles_env.scenarios; print([m for m in {heavy} if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
