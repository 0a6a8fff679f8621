"""10,000 bad inputs (a few hundred in the quick suite): each a clear error that names what is wrong, or legal.

Never a raw traceback, never more than 10 seconds, never an infinite reward or one that is no number.
"""

from __future__ import annotations

import copy
import functools
import os
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import yaml
from typer.testing import CliRunner

from malles_agents.registry import BUILDERS, make_seller
from malles_env import load_scenario, parallel_env, vec_env
from malles_env.cli import app
from malles_env.envs.single import PricingEnv
from malles_env.envs.vector import PricingVectorEnv
from malles_env.scenarios import parse_scenario
from tests.reliability.odd import ANYTHING, NUMBERS, PLAIN, TEXTS, in_both_sizes, judged

HOME = Path(load_scenario.__code__.co_filename).parent
SOURCES = ("bertrand-duopoly", "wholesale", "clearance")


def played(env: Any, periods: int = 3) -> None:
    """Play a parallel env at the corners of its spaces; every number it answers with must be finite."""
    env.reset(seed=1)
    rng = np.random.default_rng(0)
    for _ in range(periods):
        if not env.agents:
            break
        shape = env.action_space(env.agents[0]).shape
        actions = {agent: rng.choice([-1.0, 1.0], shape).astype(np.float32) for agent in env.agents}
        observations, rewards, _, _, infos = env.step(actions)
        assert np.isfinite(list(rewards.values())).all(), rewards
        assert all(np.isfinite(seen).all() for seen in observations.values())
        assert all(np.isfinite(list(info.values())).all() for info in infos.values()), infos


# -- scenario files ------------------------------------------------------------------------------------------------


@functools.cache
def fields_of(name: str) -> Any:
    return yaml.safe_load((HOME / f"{name}.yaml").read_text(encoding="utf-8"))


def places(node: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of everything in nested dicts and lists."""
    parts = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path for key, part in parts for path in ((*before, key), *places(part, (*before, key)))]


@st.composite
def changed_fields(draw: Any) -> str:
    fields = copy.deepcopy(fields_of(draw(st.sampled_from(SOURCES))))
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(places(fields)))
        node = fields
        try:
            for step in where[:-1]:
                node = node[step]
            how = draw(st.sampled_from(["put", "put", "put", "remove", "add", "rename"]))
            if how == "put":
                node[where[-1]] = copy.deepcopy(draw(PLAIN))  # what is put may itself be changed
            elif how == "remove":
                del node[where[-1]]
            elif isinstance(node, dict):
                key = draw(st.sampled_from([*TEXTS, 1, None, True, "unit_cost", "promotions", "price_rules", "forces"]))
                node[key] = node.pop(where[-1]) if how == "rename" else copy.deepcopy(draw(PLAIN))
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return str(yaml.safe_dump(fields, allow_unicode=True))


NASTY = [
    "&a [*a]", "[" * 3000, "{" * 3000, "? [1]\n: 2\n", "!!python/name:os.system x", "9" * 5000, "<<: *x", "\t",
    "%YAML 9",
    "\x00", "&x [1,1]", "*x", "!!binary =", "- - - - - - - - - - - - - - - - - - - - - - 1", "2020-13-45", "=", "1:30",
    "!!timestamp nope", "!!int x", "!!float x", "'", '"', "|", "\ud800".encode("utf-8", "replace").decode(), "...",
    "---",
]  # fmt: skip


@st.composite
def changed_text(draw: Any) -> str:
    text = (HOME / f"{draw(st.sampled_from(SOURCES))}.yaml").read_text(encoding="utf-8")
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        long = draw(st.integers(0, 60))
        text = text[:at] + draw(st.one_of(st.sampled_from(NASTY), st.text(max_size=8))) + text[at + long :]
    return text


def use_scenario(text: str) -> None:
    scenario = parse_scenario(text, "case.yaml")
    if scenario.consumers.kind != "logit":
        return
    played(parallel_env(scenario))
    # the corners of money: rewards are float32 for Stable-Baselines3
    markets = vec_env(scenario, num_markets=2)
    markets.reset()
    _, rewards, _, _ = markets.step(np.ones((markets.num_envs, *markets.action_space.shape), dtype=np.float32))
    assert np.isfinite(rewards).all()


@in_both_sizes(st.one_of(changed_fields(), changed_fields(), changed_text()), 60, 4000)
def _scenarios(case: str) -> None:
    judged(lambda: use_scenario(case))


test_scenario_files, test_scenario_files_thoroughly = _scenarios


# -- constructors --------------------------------------------------------------------------------------------------

COMMON = (
    "scenario", "max_cycles", "action_mode", "observation_mode", "demand", "consumers", "render_mode", "monitoring",
    "price_levels", "tastes", "history",
)  # fmt: skip
FACES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "parallel": (parallel_env, COMMON),
    "single": (PricingEnv, (*COMMON, "seller", "rivals")),
    "vector": (PricingVectorEnv, (*COMMON, "num_envs", "seller", "rivals")),
    "sb3": (vec_env, (*COMMON, "num_markets", "learner", "rivals", "seed", "info")),
}
USUAL = {
    "action_mode": ["continuous", "discrete", "dict"], "observation_mode": ["flat", "dict"],
    "rivals": ["random", "nash"],
    "demand": ["expected", "gaussian", "exact"], "monitoring": ["full", "own"], "seller": ["seller_1", "all"],
}  # fmt: skip


@st.composite
def arguments(draw: Any) -> tuple[str, dict[str, Any]]:
    face = draw(st.sampled_from(list(FACES)))
    names = draw(st.lists(st.sampled_from(FACES[face][1]), min_size=1, max_size=3, unique=True))
    values = {name: draw(st.one_of(ANYTHING, st.sampled_from(USUAL.get(name, [None])))) for name in names}
    return face, values


def make_and_reset(face: str, values: dict[str, Any]) -> None:
    env = FACES[face][0](**values)
    env.reset()
    env.close()


@in_both_sizes(arguments(), 60, 2500)
def _constructors(case: tuple[str, dict[str, Any]]) -> None:
    judged(lambda: make_and_reset(*case))


test_constructors, test_constructors_thoroughly = _constructors


# -- actions -------------------------------------------------------------------------------------------------------


@functools.cache
def env_of(face: str, mode: str) -> Any:
    if face == "parallel":
        return parallel_env("wholesale", action_mode=mode)
    return (vec_env if face == "sb3" else PricingVectorEnv)(**{
        "scenario": "wholesale", "num_markets" if face == "sb3" else "num_envs": 2, "action_mode": mode
    })  # fmt: skip


@st.composite
def spoiled_action(draw: Any) -> Any:
    kind = draw(st.sampled_from(["anything", "shape", "entry", "dtype", "keys"]))
    shape = tuple(draw(st.lists(st.sampled_from([0, 1, 2, 4, 8]), max_size=3)))
    if kind == "anything":
        return draw(ANYTHING)
    if kind == "keys":
        names = st.sampled_from(["price", "listed", "display", "seller_0", "seller_1", "seller_9", 1, None])
        return draw(st.dictionaries(names, ANYTHING, max_size=5))
    array = np.zeros(draw(st.sampled_from([(8,), (4,), (2, 8), (2, 4), shape])))
    if kind == "entry" and array.size:
        array.flat[draw(st.integers(0, array.size - 1))] = float(draw(st.sampled_from(NUMBERS[:-2])))
    if kind == "dtype":
        array = array.astype(draw(st.sampled_from(["i1", "u8", "f2", "?", "U3", "O", "c16", "M8[s]"])))
    return array


@in_both_sizes(
    st.tuples(
        st.sampled_from(["parallel", "sb3", "vector"]), st.sampled_from(["continuous", "discrete", "dict"]),
        st.booleans(), spoiled_action(),
    ), 60, 2500,
)  # fmt: skip
def _actions(case: tuple[str, str, bool, Any]) -> None:
    face, mode, whole, action = case
    if face == "sb3" and mode == "dict":
        return
    env = env_of(face, mode)
    env.reset()
    before = env.market.state.copy()
    if face == "parallel" and not whole:
        action = {agent: env.action_space(agent).sample() for agent in env.agents} | {"seller_1": action}

    def step() -> None:
        answer = env.step(action)
        rewards = list(answer[1].values()) if isinstance(answer[1], dict) else answer[1]
        assert np.isfinite(rewards).all()

    if judged(step) == "refused":  # nothing has happened
        for name in ("stock", "period", "streams", "mean_field"):
            np.testing.assert_array_equal(getattr(before, name), getattr(env.market.state, name))


test_actions, test_actions_thoroughly = _actions


# -- command lines -------------------------------------------------------------------------------------------------

COMMANDS: list[list[str]] = [
    ["scenario", "show", "@"],
    ["scenario", "show", "bertrand-duopoly", "--elasticities", "--hold", "@"],
    ["scenario", "show", "bertrand-duopoly", "--json", "@"],
    ["evaluate", "bertrand-duopoly", "--episodes", "@", "--sellers", "fixed"],
    ["evaluate", "bertrand-duopoly", "--episodes", "1", "--sellers", "@"],
    ["evaluate", "bertrand-duopoly", "--episodes", "1", "--sellers", "fixed", "--rivals", "@"],
    ["evaluate", "bertrand-duopoly", "--episodes", "1", "--sellers", "fixed", "--agent", "@"],
    ["evaluate", "bertrand-duopoly", "--episodes", "1", "--sellers", "fixed", "--cost-share", "@"],
    ["evaluate", "bertrand-duopoly", "--episodes", "1", "--sellers", "fixed", "--tastes", "@"],
    ["evaluate", "bertrand-duopoly", "--policy", "@", "--episodes", "1"],
    ["train", "bertrand-duopoly", "--algo", "@", "--steps", "0"],
    ["train", "bertrand-duopoly", "--seed", "@", "--steps", "0"],
    ["train", "bertrand-duopoly", "--threads", "@", "--steps", "0"],
    ["train", "bertrand-duopoly", "--steps", "0", "--out", "@"],
    ["demo", "--seeds", "0", "--scenario", "@"],
    ["demo", "--seeds", "@", "--steps", "0"],
    ["tournament", "--episodes", "0", "--seller", "@"],
    ["tournament", "--episodes", "0", "--entry", "@"],
    ["tournament", "--workers", "@", "--episodes", "0"],
    ["study", "--algo", "@", "--seeds", "0"],
    ["study", "--steps", "@", "--seeds", "0"],
    ["distil", "bertrand-duopoly", "--questions", "@", "--out", "x.txt"],
    ["distil", "bertrand-duopoly", "--price-transform", "@", "--out", "x.yaml"],
    ["consumers", "audit", "bertrand-duopoly", "--states", "@", "--tolerance", "-1"],
    ["discuss", "bertrand-duopoly", "--discount", "@", "--segment", "nobody"],
    ["reproduce", "@"],
    ["@"],
    ["cache", "@"],
]
WORDS = [
    *(str(value) for value in NUMBERS), *(text for text in TEXTS if "\x00" not in text), "random:nan", "random:-1",
    "ucb:inf", "undercut:nan", "mnl-bandit:inf", "discount:1", "cost-plus:-inf", "fixed:1e400", "ppo:", "ppo:/dev/null",
    "language:@ftp://x", "calendar:9.json", ",,", "/dev/null", "/", "--", "-x", "n" * 5000, "soft-drinks.yaml", "1e9",
]  # fmt: skip


@in_both_sizes(st.tuples(st.sampled_from(COMMANDS), st.sampled_from(WORDS)), 25, 300)
def _commands(case: tuple[list[str], str]) -> None:
    words = [part if part != "@" else case[1] for part in case[0]]
    result: Any = None

    def run() -> None:
        nonlocal result
        before = Path.cwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                result = runner.invoke(app, words)
            finally:
                os.chdir(before)

    judged(run)
    if result.exit_code == 0:
        return
    assert isinstance(result.exception, SystemExit), (words, result.exception)
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    usage = not lines and "Usage" in result.stderr + result.stdout
    assert result.exit_code == 2 and (usage or len(lines) == len(result.stderr.splitlines()) == 1), (
        words,
        result.output,
    )


runner = CliRunner()
SLOW = {"thompson-draws", "robust-stationary", "language"}
"""Sellers that think or read for longer than the limit before their first period, as they should."""
test_command_lines, test_command_lines_thoroughly = _commands


@in_both_sizes(st.tuples(st.sampled_from(sorted(set(BUILDERS) - SLOW)), st.sampled_from(WORDS)), 30, 300)
def _sellers(case: tuple[str, str]) -> None:
    judged(lambda: make_seller(":".join(case), "bertrand-duopoly"))


test_sellers, test_sellers_thoroughly = _sellers
