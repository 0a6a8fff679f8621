"""`malles discuss`, in the terminal and on disk."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from malles_env.cli.discuss import discuss
from malles_env.consumers.discussion import read_transcript
from malles_env.errors import InvalidInput, MissingResource
from tests.consumers.discussion.models import saved

app = typer.Typer()
app.command()(discuss)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model"))


def run(*words):
    answer = CliRunner().invoke(app, [str(word) for word in words])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


def test_turns_verdict_and_transcript_are_shown(folder, tmp_path):
    out = tmp_path / "talk.jsonl"
    answer = run(
        "wholesale", "--model", folder, "--rounds", 2, "--segment", "bathroom_studio", "--discount", 0.1, "--out", out
    )
    assert answer.exit_code == 0
    for words in ("round 1: notes", "round 2: proposals", "most propose", "customer service", "order nothing"):
        assert words in answer.output
    (line,) = read_transcript(out)
    assert line["scenario"] == "wholesale" and line["buyer"].startswith("Bathroom fitter")
    assert sum(line["verdict"]["probability"].values()) == pytest.approx(1.0)


def test_other_scenarios_are_talked_over_by_the_retail_cast(folder):
    answer = run("ice-cream", "--model", folder, "--rounds", 0)
    assert "price watcher" in answer.output and "buy nothing" in answer.output


def test_mistakes_are_named(folder, tmp_path):
    with pytest.raises(InvalidInput, match="bathroom_studio"):
        run("wholesale", "--model", folder, "--segment", "nobody")
    with pytest.raises(InvalidInput, match="discount"):
        run("wholesale", "--model", folder, "--discount", 2)
    with pytest.raises(InvalidInput, match="cast"):
        run("wholesale", "--model", folder, "--cast", "opera")
    with pytest.raises(MissingResource):
        run("wholesale", "--model", tmp_path / "none")
