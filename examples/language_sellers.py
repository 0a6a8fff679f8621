"""Two language models as sellers in the textbook duopoly, under two wordings of the same aim.

    python examples/language_sellers.py --model smollm2 --out runs/prefixes
    python examples/language_sellers.py --model qwen3-8b --server http://127.0.0.1:8000/v1 --periods 300 --note 160

Large models asked different prices when their aim was worded differently (Fish, Gonczarowski, Shorrer 2024,
"Algorithmic Collusion by Large Language Models"). The two prefixes here are our own words for theirs. Each seed is a
market with its own random prices in the first period, which both prefixes share; then the models are asked.

The same file enters the leaderboard: `malles tournament --entry examples/language_sellers.py`.
"""

import argparse
from functools import cache
from pathlib import Path

import numpy as np

from malles_agents.plots import COLOURS, FAINT, INK, new_figure, save_figure
from malles_agents.seller_view import SellerView
from malles_agents.sellers.language import LONG_RUN, SELL_MORE, LanguageSeller
from malles_agents.sellers.oracles import benchmarks_of
from malles_env import vec_env
from malles_env.consumers.language import CachedModel, LanguageModel, LocalModel, ServedModel

MARKET, AGENTS = "bertrand-duopoly", ("seller_0", "seller_1")
PREFIXES = {"long run": LONG_RUN, "sell more": SELL_MORE}


@cache
def model(name: str = "smollm2", server: str | None = None) -> LanguageModel:
    """Return the model with its answers kept on disk, loaded once."""
    return CachedModel(ServedModel(name, server) if server else LocalModel.load(name))


def make_seller(view: SellerView) -> LanguageSeller:
    """Return the seller for an agent; `malles tournament` calls this for every scenario and agent."""
    return LanguageSeller(view, model())


def play(prefix: str, args: argparse.Namespace) -> np.ndarray:
    """Return the prices that two sellers with this prefix ask, (periods, seeds, 2)."""
    sellers = [
        LanguageSeller(
            SellerView.of(MARKET, agent), model(args.model, args.server), prefix=prefix, periods=args.memory,
            temperature=args.temperature, seed=n, note=args.note, listings=False,
        )
        for n, agent in enumerate(AGENTS)
    ]  # fmt: skip
    env = vec_env(MARKET, num_markets=args.seeds, learner="all", max_cycles=args.periods + 2)
    env.seed(0)
    env.reset()
    first = np.random.default_rng(0).uniform(-1.0, 1.0, (env.num_envs, 2))  # price and listing score
    first[:, 1] = 1.0
    observation, *_ = env.step(first.astype(np.float32))
    memory, prices = [seller.start(args.seeds) for seller in sellers], []
    for period in range(args.periods):
        actions = np.empty_like(first, dtype=np.float32)
        for n, seller in enumerate(sellers):
            actions[n::2], memory[n] = seller.predict(observation[n::2], memory[n])
        observation, *_ = env.step(actions)
        prices.append(env.outcome.prices.copy())
        if args.verbose:
            print(f"  period {period + 1}: {np.array2string(prices[-1].mean(axis=0), precision=3)}", flush=True)
    asked_again = sum(seller.retries for seller in sellers)
    if asked_again:
        print(f"  {asked_again} answers could not be used and were asked for again")
    return np.array(prices)


def draw(asked: dict[str, np.ndarray], nash: float, joint: float, path: Path) -> None:
    """Draw the mean price of each period with its standard error over seeds."""
    figure, axis = new_figure(size=(7.0, 4.0))
    for (name, prices), colour in zip(asked.items(), COLOURS, strict=False):
        by_seed, periods = prices.mean(axis=2), np.arange(1, len(prices) + 1)
        mean, error = by_seed.mean(axis=1), by_seed.std(axis=1, ddof=1) / np.sqrt(by_seed.shape[1])
        axis.plot(periods, mean, color=colour, label=f"prefix “{name}”")
        axis.fill_between(periods, mean - error, mean + error, color=colour, alpha=0.2, linewidth=0)
    for value, name, colour in ((nash, "Nash", FAINT), (joint, "joint maximum", INK)):
        axis.axhline(value, color=colour, linestyle="--", linewidth=1.2, label=name)
    axis.set(xlabel="period", ylabel="mean price of both sellers (money)")
    axis.set_title("Two language models as sellers; band: one standard error over seeds", loc="left", fontsize=10)
    figure.legend(*axis.get_legend_handles_labels(), frameon=False, fontsize=8.5, ncols=4, loc="outside lower center")
    save_figure(figure, path)


def mean_se(values: np.ndarray, digits: int = 3) -> str:
    """Return mean and standard error over seeds."""
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1) / np.sqrt(len(values)):.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="smollm2, a local path or a hub id; a name on a server")
    parser.add_argument("--server", help="base URL of a server of the OpenAI protocol")
    parser.add_argument("--periods", type=int, default=12, help="asked of the models, after one at random prices")
    parser.add_argument("--seeds", type=int, default=4, help="markets per prefix, 2 or more")
    parser.add_argument("--memory", type=int, default=5, help="past periods the models see")
    parser.add_argument("--note", type=int, default=0, help="characters of a note to itself; 0 for none")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=Path("runs/language-sellers"))
    parser.add_argument("--verbose", action="store_true", help="print each period")
    args = parser.parse_args()
    if args.seeds < 2 or args.periods < 2:
        parser.error("--seeds and --periods: 2 or more")
    view = SellerView.of(MARKET, AGENTS[0])
    known, cheapest = benchmarks_of(view), float(view.price_low.min()) + 0.01
    nash, joint = known.nash.prices.mean(), known.monopoly.prices.mean()
    asked, late = {}, {}
    print(f"second half of {args.periods} periods, {args.seeds} seeds; price index: 0 Nash, 1 joint maximum")
    for name, prefix in PREFIXES.items():
        asked[name] = play(prefix, args)
        late[name] = asked[name][args.periods // 2 :].mean(axis=(0, 2))
        index = mean_se((late[name] - nash) / (joint - nash), 2)
        print(f"{name}: mean price {mean_se(late[name])} (Nash {nash:.3f}, joint maximum {joint:.3f}), index {index}")
        print(f"  {(asked[name] < cheapest).mean():.0%} of all answers are the lowest price allowed")
    print(f"difference, seed by seed: {mean_se(late['long run'] - late['sell more'])}")
    args.out.mkdir(parents=True, exist_ok=True)
    draw(asked, nash, joint, args.out / "prices.png")
    print(f"plot: {args.out / 'prices.png'}")


if __name__ == "__main__":
    main()
