"""Writes the gallery: a page for each bundled scenario, made from the scenario itself and one episode played in it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import gymnasium
from PIL import Image

import malles_env
from malles_env.market import Catalog
from malles_env.scenarios import Scenario, list_scenarios, load_scenario

SELLERS = "cost-plus"
"""Every seller of the pictures; it is defined in all scenarios."""
SEED = 0
MOST_PRODUCTS = 16
"""Products in the table of a page; a file beside it has all."""


def write_gallery(folder: Path) -> None:
    """Write ``index.md`` and a page and a picture per scenario; nothing is written anew that stands there already.

    Args:
        folder: Of the pages.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scenarios = [load_scenario(name) for name in list_scenarios()]
    for scenario in scenarios:
        picture = folder / f"{scenario.name}-{scenario.digest()[:8]}.png"
        if not picture.exists():
            _picture(scenario).save(picture)
        write_changed(folder / f"{scenario.name}.md", _page(scenario, picture.name))
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows(_products(scenario.catalog()))
        write_changed(folder / f"{scenario.name}-products.csv", table.getvalue())
    write_changed(folder / "index.md", _index(scenarios))


def write_changed(path: Path, content: str) -> None:
    """Write a page unless it stands there already, so that a second build finds nothing new.

    Args:
        path: Of the page; its folder is made.
        content: The page.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        path.write_text(content, encoding="utf-8")


def _picture(scenario: Scenario) -> Image.Image:
    env = malles_env.parallel_env(scenario, render_mode="rgb_array")
    for _ in malles_env.play_episode(env, SELLERS, seed=SEED):
        pass
    return Image.fromarray(env.render())


def _page(scenario: Scenario, picture: str) -> str:
    env = malles_env.parallel_env(scenario)
    shelf = env.catalog.shelf
    lines = [f"# {scenario.title or scenario.name}", ""]
    lines += [scenario.description.strip(), ""] if scenario.description else []
    lines += [
        "```python", "import malles_env", "", f'env = malles_env.parallel_env("{scenario.name}")', "```", "",
        f"![An episode of {env.max_cycles} periods; every seller is `{SELLERS}`]({picture})", "",
        "| agent | seller | products | listed at once | observation | action |", "|---|---|---:|---:|---|---|",
    ]  # fmt: skip
    for n, agent in enumerate(env.possible_agents):
        spaces = f"`{_space(env.observation_space(agent))}` | `{_space(env.action_space(agent))}`"
        lines.append(
            f"| `{agent}` | {env.catalog.sellers[n]} | {len(env.catalog.products_of(n))} | {shelf[n]} | {spaces} |"
        )
    header, *products = _products(env.catalog)
    lines += ["", f"| {' | '.join(header)} |", "|---|---|---:|---:|---:|---:|"]
    lines += [f"| {' | '.join(row)} |" for row in products[:MOST_PRODUCTS]]
    if len(products) > MOST_PRODUCTS:
        lines += ["", f"[All {len(products)} products]({scenario.name}-products.csv) (CSV)."]
    lines += ["", f"Prices in {scenario.currency}. What each seller earns here: the leaderboard in `agents/README.md`."]
    for title, notes in (("Notes", scenario.notes), ("Sources", scenario.sources)):
        lines += ["", f"**{title}**", "", *(f"- {note.strip()}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def _products(catalog: Catalog) -> list[list[str]]:
    """Return the table of products, header first."""
    rows = [["product", "seller", "regular price", "unit cost", "lowest price", "highest price"]]
    for j, product in enumerate(catalog.products):
        money = (catalog.regular_price[j], catalog.unit_cost[j], catalog.price_low[j], catalog.price_high[j])
        rows.append([product.title or product.product_id, product.seller, *(f"{value:.2f}" for value in money)])
    return rows


def _space(space: gymnasium.Space) -> str:
    if isinstance(space, gymnasium.spaces.Box):
        return f"Box{space.shape}, {space.dtype}"
    return str(space)


def _index(scenarios: list[Scenario]) -> str:
    lines = ["# Gallery", "", "One page per bundled market: its picture, spaces, sellers and products.", ""]
    lines += ["::::{grid} 1 2 2 3", ":gutter: 3", ""]
    for scenario in scenarios:
        lines += [
            f":::{{grid-item-card}} {scenario.title or scenario.name}", f":link: {scenario.name}", ":link-type: doc",
            f":img-bottom: {scenario.name}-{scenario.digest()[:8]}.png", "",
            f"Sellers: {len(scenario.sellers)}; products: {len(scenario.products)}", ":::", "",
        ]  # fmt: skip
    lines += ["::::", "", "```{toctree}", ":hidden:", "", *(scenario.name for scenario in scenarios), "```"]
    return "\n".join(lines) + "\n"
