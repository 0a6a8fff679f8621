"""Answers on disk: a model that was asked once is not asked again.

One file per answer under ``<cache>/answers``, named by the sha256 of model identity, prompt, and labels or sampling.
A file is written beside its place and moved there, so that several processes can write and read at once. It carries a
checksum: a damaged answer is noticed, thrown away and asked again.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malles_env.consumers.language.base import LanguageModel, Prompt, Reply, Sampling, Usage, forget
from malles_env.consumers.language.partial import PartlyAnswered
from malles_env.errors import LanguageModelError, invalid
from malles_env.files import cache_dir, json_hash, sha256
from malles_env.type_aliases import FloatArray

DEFAULT_LIMIT = 1 << 30
"""Bytes on disk before the answers unused for longest go."""
FORMAT = 1
_TRIM_TO = 0.9
_CHECK_AFTER = 0.05


@dataclass(frozen=True)
class CacheInfo:
    """What an answer cache holds.

    Attributes:
        entries: Answers.
        size: Bytes of their files.
    """

    entries: int
    size: int


class AnswerCache:
    """Answers on disk, by key.

    Args:
        folder: Where they are; None is ``<cache>/answers``.
        limit: Bytes before the answers unused for longest are thrown away; 0 keeps none.
    """

    def __init__(self, folder: Path | None = None, limit: int = DEFAULT_LIMIT) -> None:
        if limit < 0:
            raise invalid("limit", limit, "0 bytes or more")
        self.folder = folder if folder is not None else cache_dir() / "answers"
        self.limit = limit
        self.damaged = 0
        self._waiting: dict[str, Any] = {}
        self._grown = float(limit)  # by others, perhaps

    def get(self, key: str) -> Any:
        """Return an answer, None where there is none; a damaged one is thrown away and counted in `damaged`."""
        if key in self._waiting:
            return self._waiting[key]
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LanguageModelError(f"answer cache: {path} cannot be read ({error}); mend it or remove it") from error
        answer = _opened(content)
        if answer is None:
            self.damaged += 1
            path.unlink(missing_ok=True)
            return None
        with suppress(OSError):  # another process may have removed it, or the disk may be read-only
            os.utime(path)
        return answer

    def put(self, answers: Iterable[tuple[str, Any]]) -> None:
        """Keep answers.

        Raises:
            LanguageModelError: They cannot be written, e.g. on a full disk. This object still has them: it answers
                from memory and writes them with the next call.
        """
        self._waiting.update(answers)
        for key in list(self._waiting):
            self._write(key, self._waiting[key])
            del self._waiting[key]
        if self._grown > _CHECK_AFTER * self.limit:
            self._grown = 0.0
            self.trim()

    def info(self) -> CacheInfo:
        """Return number and size of the answers on disk."""
        files = self._files()
        return CacheInfo(len(files), sum(size for _, size, _ in files))

    def clear(self) -> CacheInfo:
        """Remove all answers; return what there was."""
        files = self._files()
        for path, _, _ in files:
            path.unlink(missing_ok=True)
        self._waiting.clear()
        return CacheInfo(len(files), sum(size for _, size, _ in files))

    def trim(self) -> None:
        """Remove the answers unused for longest until a tenth of the limit is free."""
        files = sorted(self._files(), key=lambda file: file[2])
        size = sum(file[1] for file in files)
        if size <= self.limit:
            return
        for path, own, _ in files:
            if size <= _TRIM_TO * self.limit:
                return
            path.unlink(missing_ok=True)
            size -= own

    def _write(self, key: str, answer: Any) -> None:
        path = self._path(key)
        content, temporary = _sealed(answer), ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except OSError as error:
            raise LanguageModelError(
                f"answer cache: cannot write to {self.folder} ({error.strerror}); free space (`malles cache clear` "
                f"does) and go on: the {len(self._waiting)} answers not written are kept in memory until then"
            ) from error
        finally:
            if temporary:
                with suppress(FileNotFoundError):
                    os.unlink(temporary)
        self._grown += len(content)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def _files(self) -> list[tuple[Path, int, float]]:
        """Return path, size and last use of each answer."""
        found = []
        for path in self.folder.glob("??/*.json"):
            with suppress(FileNotFoundError):  # removed by another process meanwhile
                state = path.stat()
                found.append((path, state.st_size, state.st_mtime))
        return found


def _sealed(answer: Any) -> bytes:
    body = json.dumps(answer, ensure_ascii=False).encode()
    return sha256(body).encode() + b"\n" + body


def _opened(content: bytes) -> Any:
    checksum, _, body = content.partition(b"\n")
    whole = sha256(body).encode() == checksum
    return json.loads(body) if whole else None


def answer_key(identity: str, prompt: Prompt, asked: object) -> str:
    """Return the key of an answer; where a prompt is cut into shared and own does not matter.

    Args:
        identity: The model's.
        prompt: The prompt.
        asked: Labels or sampling, as JSON has them.
    """
    parts = [FORMAT, identity, prompt.system, prompt.shared + prompt.own, prompt.lead, asked]
    return json_hash(parts, sort_keys=True)


class CachedModel:
    """A language model that remembers its answers. Equal questions of one call are asked once.

    Args:
        model: The model to ask.
        cache: Where answers are; None is the user's cache.
    """

    def __init__(self, model: LanguageModel, cache: AnswerCache | None = None) -> None:
        self.model = model
        self.cache = cache if cache is not None else AnswerCache()

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def identity(self) -> str:
        """The model's identity."""
        return self.model.identity

    @property
    def usage(self) -> Usage:
        """What the model was asked, with the answers from the cache counted as `cached`."""
        return self.model.usage

    def label_log_probabilities(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> FloatArray:
        """Return log probabilities ``(N, L)``, those known from the cache; see `LanguageModel`."""
        asked = ["labels", list(labels)]

        def ask(missing: list[Prompt]) -> list[list[float]]:
            rows: list[list[float]] = self.model.label_log_probabilities(missing, labels).tolist()
            return rows

        found = self._answers(prompts, asked, ask, lambda row: [float(value) for value in row])
        return np.array(found, dtype=np.float64).reshape(len(prompts), len(labels))

    def forget(self) -> None:
        """Let the model drop what it has read; answers stay in the cache."""
        forget(self.model)

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Reply]:
        """Return answers in words, those known from the cache; see `LanguageModel`."""

        def ask(missing: list[Prompt]) -> list[dict[str, Any]]:
            return [asdict(reply) for reply in self.model.complete(missing, sampling)]

        return [Reply(**reply) for reply in self._answers(prompts, ["words", asdict(sampling)], ask, asdict)]

    def _answers(
        self,
        prompts: Sequence[Prompt],
        asked: object,
        ask: Callable[[list[Prompt]], list[Any]],
        plain: Callable[[Any], Any],
    ) -> list[Any]:
        """Return the answers, asking for those that are missing and keeping what came even if not all did."""
        keys = [answer_key(self.identity, prompt, asked) for prompt in prompts]
        known = {key: self.cache.get(key) for key in dict.fromkeys(keys)}
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if known[key] is None}
        names = list(missing)
        if missing:
            try:
                new = dict(zip(names, ask(list(missing.values())), strict=True))
            except PartlyAnswered as error:
                self.cache.put((names[at], plain(answer)) for at, answer in error.answers.items())
                raise
            self.cache.put(new.items())
            known |= new
        self.usage.cached += len(keys) - len(missing)
        return [known[key] for key in keys]
