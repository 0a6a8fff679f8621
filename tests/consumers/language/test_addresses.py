"""Who gets the user's key: servers the user names or lists, never one that only a file names, nor one redirected to."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import yaml
from typer.testing import CliRunner

from malles_agents.registry import make_seller
from malles_env import load_scenario
from malles_env.cli import app
from malles_env.consumers.language import Patience, ServedModel
from malles_env.consumers.language.serving.addresses import TRUSTED_SERVERS, checked_url, is_trusted, origin
from malles_env.errors import InvalidInput, LanguageModelError, invalid
from malles_env.scenarios import Scenario, parse_scenario, save_scenario
from malles_env.scenarios.consumer_kinds.discussion import with_discussion
from malles_env.scenarios.consumer_kinds.model_factory import language_model
from malles_env.scenarios.consumer_kinds.prompted import with_prompted
from malles_env.workflows.calibration import _entered
from tests.consumers.language.servers import Recorder, recording

KEY = "sk-secret-key-of-the-user"
ONCE = Patience(timeout=20, attempts=1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY", "OPENAI_WEBHOOK_SECRET"):
        monkeypatch.setenv(name, f"{KEY}-{name}")
    monkeypatch.delenv(TRUSTED_SERVERS, raising=False)
    with recording() as recorder:
        yield recorder


def filed(server: str, kind: str = "discussion") -> Scenario:
    """Return a scenario as its file names a server."""
    result = load_scenario("bertrand-duopoly").model_dump(mode="json", exclude_defaults=True)
    result["consumers"] = {"kind": kind, "model": "m", "server": server, "cache": False}
    return parse_scenario(yaml.safe_dump(result))


@pytest.mark.parametrize("kind", ["discussion", "prompted"])
def test_a_server_that_a_file_names_gets_no_key(server: Recorder, kind: str) -> None:
    assert filed(server.url, kind).build_consumers().model.identity  # type: ignore[attr-defined]
    assert server.headers and KEY not in server.sent()


def test_the_command_line_keeps_the_key_from_a_file_as_well(server: Recorder, tmp_path) -> None:
    file = save_scenario(filed(server.url), tmp_path / "shop.yaml")
    CliRunner().invoke(app, ["discuss", str(file), "--model", "m"])  # it gets no answer that can be used
    assert server.headers and KEY not in server.sent()
    CliRunner().invoke(app, ["discuss", str(file), "--server", server.url])
    assert f"Bearer {KEY}" in server.sent()


@pytest.mark.parametrize("change", [with_discussion, with_prompted])
def test_a_server_that_the_user_names_gets_the_key(server: Recorder, change) -> None:
    named = change(load_scenario("bertrand-duopoly"), model="m", server=server.url, cache=False)
    for scenario in (named, named.with_policy(sales_tax=0.1), named.with_model("other")):
        server.headers.clear()
        assert scenario.build_consumers().model.identity
        assert f"Bearer {KEY}" in server.sent()
    again = parse_scenario(yaml.safe_dump(named.model_dump(mode="json", exclude_defaults=True)))
    assert again == named, "who named a server is no part of a scenario"
    server.headers.clear()
    assert language_model(again.consumers).identity and KEY not in server.sent()  # type: ignore[arg-type]


def test_another_field_named_by_the_user_does_not_vouch_for_the_server(server: Recorder) -> None:
    talking, asked = filed(server.url), filed(server.url, "prompted")
    for changed in (with_discussion(talking, rounds=1, model="n"), _entered(asked, {"orders": 2})):
        assert language_model(changed.consumers).identity and KEY not in server.sent()  # type: ignore[arg-type]
    named = _entered(with_prompted(asked, server=server.url, cache=False), {"orders": 2})
    assert language_model(named.consumers).identity and KEY in server.sent()  # type: ignore[arg-type]


def test_a_listed_server_gets_the_key(server: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED_SERVERS, f"https://api.example.org/v1, {server.url}/")
    assert filed(server.url).build_consumers().model.identity  # type: ignore[attr-defined]
    assert f"Bearer {KEY}" in server.sent()


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("https://api.example.org", True),
        ("https://API.example.org:443/other/path", True),
        ("http://api.example.org/v1", False),
        ("https://api.example.org:8443/v1", False),
        ("https://api.example.org.evil.net/v1", False),
        ("https://evil.api.example.org/v1", False),
        ("https://api.example.or", False),
    ],
)
def test_listed_servers_are_compared_whole(url: str, trusted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED_SERVERS, "https://api.example.org/v1")
    assert is_trusted(url) is trusted


@pytest.mark.parametrize(
    "url",
    [
        "http://ann:hunter2@127.0.0.1/v1",
        "http://hunter2@127.0.0.1/v1",
        "http://127.0.0.1/v1?key=hunter2",
        "http://127.0.0.1/v1#hunter2",
        "http://127.0.0.1\\@evil.net/hunter2",
        "http://127.0.0.1 hunter2/",
        "http://127.0.0.1:hunter2/",
        "http://hunter2\u3002net/v1",
        "ftp://hunter2/v1",
        "http:///hunter2",
        "hunter2",
    ],
)
def test_urls_that_hold_secrets_are_refused_and_never_shown(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED_SERVERS, url)
    tries = (
        lambda: checked_url(url),
        lambda: ServedModel("m", url),
        lambda: is_trusted("http://127.0.0.1/v1"),
        lambda: filed(url),
        lambda: with_prompted(load_scenario("bertrand-duopoly"), server=url),
        lambda: with_discussion(load_scenario("bertrand-duopoly"), server=url),
        lambda: make_seller(f"language:m@{url}", "bertrand-duopoly"),
    )
    for attempt in tries:
        with pytest.raises(InvalidInput, match="OPENAI_API_KEY") as caught:
            attempt()
        assert "hunter2" not in str(caught.value)
    answer = CliRunner().invoke(app, ["tournament", "--entry", f"language:m@{url}"])
    assert answer.exit_code == 2 and "hunter2" not in answer.output


def test_values_in_other_errors_show_no_secrets() -> None:
    for value in ("http://ann:hunter2@host/v1", ["x http://hunter2@host"], "https://host/v1?token=hunter2&a=b"):
        assert "hunter2" not in str(invalid("server", value, "text")) and "host" in str(invalid("a", value, "b"))
    result = "consumers: {kind: discussion, server: [http://ann:hunter2@host/v1]}"
    with pytest.raises(InvalidInput, match=r"consumers\.server: got") as caught:
        parse_scenario(result)
    assert "hunter2" not in str(caught.value)


def test_a_redirect_is_not_followed(server: Recorder) -> None:
    with recording() as other:
        server.redirect = other.url
        with pytest.raises(LanguageModelError, match=rf"{origin(server.url)}: redirects \(307\); not followed"):
            assert ServedModel("m", server.url, patience=ONCE).identity
        assert len(server.headers) == 1 and not other.headers


def test_a_refusal_without_key_says_how_to_give_one(server: Recorder) -> None:
    server.status = 401
    with pytest.raises(LanguageModelError, match=TRUSTED_SERVERS):
        assert filed(server.url).build_consumers().model.identity  # type: ignore[attr-defined]
    with pytest.raises(LanguageModelError, match=r"refuses with 401 \([^;]*\)$") as caught:
        assert ServedModel("m", server.url, patience=ONCE).identity
    assert KEY not in str(caught.value)


def test_plain_http_beyond_this_machine_warns_once_by_name(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for url in ("http://far.example.org:81/v1", "http://far.example.org:81/w", "https://far.example.org/v1"):
            ServedModel("m", url)
        for url in ("http://127.0.0.2/v1", "http://localhost:8000/v1", "http://[::1]:8000/v1"):
            ServedModel("m", url)
    (record,) = caplog.records
    assert "http://far.example.org:81: plain http" in record.getMessage()
