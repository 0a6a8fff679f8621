"""A film of one episode: sellers by name, one picture per period, written as a GIF.

    python examples/film.py --scenario soft-drinks --sellers calendar --out market.gif

The sellers of `calendar` replay the real weekly prices of the market, deals and all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import malles_env


def frames(scenario: str, kind: str, periods: int, seed: int) -> list[Image.Image]:
    """Return a picture of the market after each period."""
    env = malles_env.parallel_env(scenario, max_cycles=periods, render_mode="rgb_array")
    return [
        Image.fromarray(env.render()).resize((600, 400), Image.Resampling.LANCZOS)
        for _ in malles_env.play_episode(env, kind, seed=seed)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="soft-drinks")
    parser.add_argument("--sellers", default="calendar")
    parser.add_argument("--periods", type=int, default=52)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("market.gif"))
    args = parser.parse_args()

    pictures = frames(args.scenario, args.sellers, args.periods, args.seed)
    colours = pictures[-1].quantize(96)
    small = [picture.quantize(palette=colours, dither=Image.Dither.NONE) for picture in pictures]
    small[0].save(args.out, save_all=True, append_images=small[1:], duration=[120] * (len(small) - 1) + [3000], loop=0)
    print(f"film of {len(pictures)} periods: {args.out}")


if __name__ == "__main__":
    main()
