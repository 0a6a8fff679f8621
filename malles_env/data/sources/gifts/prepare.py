"""The gift wholesaler's log as choice occasions, built once and kept in the user's cache."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

from malles_env.data.occasion_files import FORMAT
from malles_env.data.occasions import Occasions
from malles_env.data.sources.gifts.build import build_gift_occasions
from malles_env.data.sources.gifts.catalogue import GiftSettings, catalogue
from malles_env.data.sources.gifts.categories import shipped_categories
from malles_env.data.sources.gifts.cleaning import clean
from malles_env.data.sources.gifts.launches import launch_trials
from malles_env.data.sources.gifts.reading import log_file, read_log
from malles_env.data.sources.prepare import cache_folder
from malles_env.errors import CorruptFile, MissingResource
from malles_env.files import file_hash, json_hash

_LOG = logging.getLogger(__name__)
BUILD = 1
"""Raised whenever the build gives other numbers from the same log, so that old caches are not used."""


def prepare_online_retail(
    settings: GiftSettings, *, file: str | Path | None = None, cache_dir: str | Path | None = None
) -> Occasions:
    """Return the wholesaler's choice occasions, from the cache where it has them.

    Args:
        settings: Splits, windows and limits.
        file: The log; by default where `malles_env.data.sources.gifts.reading.log_file` finds it.
        cache_dir: Root of the cache; see `malles_env.data.sources.prepare.cache_folder`.

    Raises:
        MissingResource: The log is not there; the message says how to get it.
        InvalidInput: The log is not what it should be.
    """
    return _prepared("occasions", settings, file, cache_dir)


def prepare_launches(
    settings: GiftSettings, *, file: str | Path | None = None, cache_dir: str | Path | None = None
) -> Occasions:
    """Return trials of launched products (see `malles_env.data.sources.gifts.launches`); arguments, errors likewise."""
    return _prepared("launches", settings, file, cache_dir)


def _prepared(kind: str, settings: GiftSettings, file: str | Path | None, cache_dir: str | Path | None) -> Occasions:
    """Return occasions or launches; either builds both, since reading the log takes most of the time."""
    source = log_file() if file is None else Path(file)
    folder = cache_folder(cache_dir) / _key(source, settings)
    try:
        return Occasions.load(folder / kind)
    except MissingResource:
        _LOG.info("building the choice occasions of %s", source)
    except CorruptFile as error:
        _LOG.warning("building choice occasions again: %s", error)
    log = catalogue(clean(read_log(source)))
    launch_trials(log, settings).save(folder / "launches")
    build_gift_occasions(log, settings).save(folder / "occasions")
    return Occasions.load(folder / kind)


def _key(source: Path, settings: GiftSettings) -> str:
    """Return a folder name that changes with the log, the categories, the build and its settings."""
    plain = asdict(settings)
    plain["splits"]["held_out_categories"] = sorted(settings.splits.held_out_categories)
    parts = [FORMAT, BUILD, file_hash(source), shipped_categories().model_dump(), plain]
    return f"online-retail-{json_hash(parts)[:16]}"
