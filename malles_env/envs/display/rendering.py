"""Draws an episode: four panels over time with Matplotlib, or a table of text."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.envs.display.recording import Recording
from malles_env.errors import check_choice
from malles_env.market import Catalog

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RENDER_MODES = ("human", "rgb_array", "ansi")
PANELS = (
    ("prices", "price"),
    ("share", "share of purchases"),
    ("seller_profit", "profit per period"),
    ("mean_field", "mean field (share of purchases)"),
)
MOST_SHOWN = 1000
"""Periods in a picture, the last ones; what a renderer keeps does not grow beyond."""
MARKS = {"display": ("^", "displayed"), "feature": ("v", "advertised")}
"""Marker of each way to promote, and its name in the legend."""
LETTERS = {"display": "D", "feature": "F"}
STYLES = ("-", "--", ":", "-.")


def check_render_mode(mode: str | None) -> str | None:
    """Return `mode` if it is one of RENDER_MODES or None.

    Raises:
        InvalidInput: It is not.
    """
    check_choice("render_mode", mode, (None, *RENDER_MODES))
    return mode


def draw(figure: Figure, catalog: Catalog, recording: Recording, title: str = "", currency: str = "") -> None:
    """Draw prices, shares, profits and the mean field of a recording over its periods.

    Prices are left out where a product was not listed. Colours stand for sellers, line styles for their products.

    Args:
        figure: Drawn over.
        catalog: Names of products and sellers.
        recording: What happened; may be empty.
        title: Written on top.
        currency: Unit of prices and profits.
    """
    figure.clear()
    figure.subplots_adjust(left=0.09, right=0.98, top=0.92, bottom=0.16, wspace=0.25, hspace=0.12)
    panels = figure.subplots(2, 2, sharex=True).flat
    history = recording.arrays()
    for axes, (name, label) in zip(panels, PANELS, strict=True):
        axes.set_ylabel(f"{label} ({currency})" if currency and name in ("prices", "seller_profit") else label)
        axes.grid(alpha=0.3)
        if history:
            _draw_lines(axes, catalog, name, _shown(history, name), recording.dropped)
            if name == "prices":
                _mark_promoted(axes, catalog, history, recording.dropped)
        if name in ("seller_profit", "mean_field"):
            axes.set_xlabel("period")
    handles, labels = figure.axes[2].get_legend_handles_labels()
    if handles:
        most = int(np.bincount(catalog.seller_of).max())
        for turn in range(min(most, len(STYLES)) if most > 1 else 0):  # the line styles, without a seller's colour
            handles += figure.axes[0].plot([], [], color="0.4", linestyle=STYLES[turn], lw=1.2)
            labels.append(f"product {turn + 1} of a seller")
        figure.legend(handles, labels, loc="lower center", ncols=min(len(labels), 5), fontsize="small", frameon=False)
    figure.suptitle(title)


def _shown(history: dict[str, np.ndarray], name: str) -> np.ndarray:
    return np.where(history["listed"], history["prices"], np.nan) if name == "prices" else history[name]


def _draw_lines(axes: Any, catalog: Catalog, name: str, values: np.ndarray, before: int) -> None:
    time = np.arange(1, len(values) + 1) + before
    marker = "." if len(values) < 3 else None
    seen: dict[int, int] = {}
    for i in range(values.shape[1]):
        seller = i if name == "seller_profit" else int(catalog.seller_of[i])
        turn = seen.setdefault(seller, 0)
        seen[seller] += 1
        label = catalog.sellers[i] if name == "seller_profit" else None
        style = STYLES[turn % len(STYLES)]
        axes.plot(time, values[:, i], color=f"C{seller % 10}", linestyle=style, marker=marker, lw=1.2, label=label)


def _mark_promoted(axes: Any, catalog: Catalog, history: dict[str, np.ndarray], before: int) -> None:
    """Mark on the price lines when a product was displayed or advertised."""
    for kind, (marker, label) in MARKS.items():
        if kind not in history or not history[kind].any():
            continue
        time, product = np.nonzero(history[kind] & history["listed"])
        colours = [f"C{int(catalog.seller_of[j]) % 10}" for j in product]
        prices = history["prices"][time, product]
        axes.scatter(time + 1 + before, prices, s=22, marker=marker, c=colours, linewidths=0.5, edgecolors="k")
        axes.scatter([], [], s=22, marker=marker, c="w", linewidths=0.5, edgecolors="k", label=label)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", fontsize="x-small", framealpha=0.6)


def as_image(catalog: Catalog, recording: Recording, title: str = "", currency: str = "") -> np.ndarray:
    """Return the picture of a recording as uint8 pixels, shape ``(600, 900, 3)``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=100)
    canvas = FigureCanvasAgg(figure)
    draw(figure, catalog, recording, title, currency)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def as_text(catalog: Catalog, recording: Recording, title: str = "") -> str:
    """Return the last period of a recording as a table of text; D: displayed, F: featured in the leaflet."""
    lines = [f"{title}, period {recording.dropped + len(recording)}".strip(", ")]
    history = recording.arrays()
    if not history:
        return f"{lines[0]}: no period was played yet\n"
    now = {name: values[-1] for name, values in history.items()}
    names = [product.title or product.product_id for product in catalog.products]
    wide = max(7, *(len(name) for name in names)) + 2
    side = max(6, *(len(seller) for seller in catalog.sellers)) + 2
    promotes = "display" in now
    header = f"{'price':>9}" + ("  D F" if promotes else "")
    header += f"{'units':>10}{'profit':>11}{'share':>8}{'felt':>8}"
    lines.append(f"{'seller':<{side}}{'product':<{wide}}{header}")
    for j, product in enumerate(catalog.products):
        price = f"{now['prices'][j]:9.2f}" if now["listed"][j] else f"{'-':>9}"
        if promotes:
            price += "  " + " ".join(letter if now[kind][j] else "-" for kind, letter in LETTERS.items())
        lines.append(
            f"{product.seller:<{side}}{names[j]:<{wide}}{price}{now['units'][j]:10.1f}{now['profit'][j]:11.2f}"
            f"{now['share'][j]:8.3f}{now['mean_field'][j]:8.3f}"
        )
    profits = ", ".join(f"{s} {p:.2f}" for s, p in zip(catalog.sellers, now["seller_profit"], strict=True))
    surplus, outside = now["consumer_surplus"], now["outside"]
    lines.append(f"profit: {profits}; consumer surplus {surplus:.2f}; buying nothing {outside:.3f}")
    return "\n".join(lines) + "\n"


class Window:
    """Shows pictures on a screen, or text in the terminal where there is no screen."""

    def __init__(self) -> None:
        self._figure: Any = None

    def show(self, catalog: Catalog, recording: Recording, title: str = "", currency: str = "") -> None:
        """Show the recording as it is now."""
        if not _has_screen():
            sys.stdout.write(as_text(catalog, recording, title))
            return
        import matplotlib.pyplot as plt

        if self._figure is None:
            plt.ion()
            self._figure = plt.figure("malles_env", figsize=(9, 6))
        draw(self._figure, catalog, recording, title, currency)
        self._figure.canvas.draw_idle()
        plt.pause(0.001)

    def close(self) -> None:
        """Close the window if there is one."""
        if self._figure is not None:
            import matplotlib.pyplot as plt

            plt.close(self._figure)
            self._figure = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave an open window behind: it cannot move to another process."""
        return {"_figure": None}


def _has_screen() -> bool:
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    if os.environ.get("CI"):
        return False
    import matplotlib

    return str(matplotlib.get_backend()).lower() not in (
        "agg",
        "pdf",
        "svg",
        "ps",
        "cairo",
        "template",
        "pgf",
    )


class Renderer:
    """Records an episode and renders it in one mode.

    Args:
        catalog: Names.
        mode: ``"human"``, ``"rgb_array"``, ``"ansi"`` or None (then nothing is recorded).
        title: Written on top.
        market: Which market of a batch.
        currency: Unit of prices and profits.

    Raises:
        InvalidInput: Another mode.
    """

    def __init__(
        self, catalog: Catalog, mode: str | None, title: str = "", market: int = 0, currency: str = ""
    ) -> None:
        self.mode, self.catalog, self.title, self.currency = check_render_mode(mode), catalog, title, currency
        self.recording, self._window = Recording(market, MOST_SHOWN), Window()

    def start(self) -> None:
        """Begin an episode."""
        self.recording.clear()
        if self.mode == "human":
            self.render()

    def add(self, outcome: Any) -> None:
        """Record a period; in human mode show it too."""
        self.recording.add(outcome)
        if self.mode == "human":
            self.render()

    def render(self) -> np.ndarray | str | None:
        """Return pixels or text; in human mode show and return None."""
        if self.mode == "rgb_array":
            return as_image(self.catalog, self.recording, self.title, self.currency)
        if self.mode == "ansi":
            return as_text(self.catalog, self.recording, self.title)
        if self.mode == "human":
            self._window.show(self.catalog, self.recording, self.title, self.currency)
        return None

    def close(self) -> None:
        """Close a window if one is open."""
        self._window.close()
