"""The async client of a server of the OpenAI protocol: bounded concurrency, retries with backoff, timeouts, counts."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from malles_env._moved import old_names
from malles_env.consumers.language.base import Usage
from malles_env.consumers.language.partial import PartlyAnswered
from malles_env.consumers.language.serving.addresses import (
    NO_KEY,
    TRUSTED_SERVERS,
    checked_url,
    origin,
    warn_if_readable,
)
from malles_env.errors import LanguageModelError, MissingResource, invalid

T = TypeVar("T")
_UNUSABLE_TRIES = 3
_BUSY = (408, 409, 425, 429)
_NO_KEY_SENT = (
    f"; no key was sent: OPENAI_API_KEY goes to servers that you name yourself or list in {TRUSTED_SERVERS}, not to "
    "those that a scenario file names"
)


class Unusable(Exception):
    """A whole answer of the server that cannot be used: something is missing in it, or it breaks the schema."""


class Unsupported(LanguageModelError):
    """The server refuses such a request for good."""


@dataclass(frozen=True)
class Patience:
    """How long to try.

    Attributes:
        timeout: Seconds without a whole answer before a request is given up and repeated.
        attempts: Times a request is sent, 1 or more.
        first_wait: Seconds before the second attempt; doubled with each further one, times a jitter of 0.5 to 1.5.
        longest_wait: Seconds between attempts at most.
    """

    timeout: float = 60.0
    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise invalid("attempts", self.attempts, "1 or more")
        if not self.timeout > 0:
            raise invalid("timeout", self.timeout, "seconds, above 0")

    def wait(self, attempt: int, asked: str | None) -> float:
        """Return seconds to wait after the `attempt`-th failure, or as long as the server asked for."""
        try:
            return min(max(float(asked or ""), 0.0), self.longest_wait)
        except ValueError:
            return min(self.first_wait * 2**attempt, self.longest_wait) * random.uniform(0.5, 1.5)


class ServerClient:
    """Sends requests through the `openai` client. Redirects are not followed, so a key stays with its server.

    Args:
        base_url: Of the server, usually ending in ``/v1``; see `checked_url`.
        api_key: Sent as the bearer; with ``"none"``, nothing else that says who the user is is sent either.
        concurrency: Requests under way at once, 1 or more.
        patience: How long to try.
        usage: Counts retries, failures and waiting time.
    """

    def __init__(self, base_url: str, api_key: str, concurrency: int, patience: Patience, usage: Usage) -> None:
        if concurrency < 1:
            raise invalid("concurrency", concurrency, "1 or more")
        self.base_url, self.api_key, self.concurrency = checked_url(base_url), api_key, concurrency
        self.shown = origin(base_url)
        warn_if_readable(base_url)
        self.patience, self.usage = patience, usage
        self.faulty = False
        self._sure: set[int] = set()

    def ask(self, jobs: Sequence[Callable[[Talk], Awaitable[T]]]) -> list[T]:
        """Do the jobs side by side; return what they return.

        Raises:
            PartlyAnswered: Some failed; with the answers of those that did not. Answers after a broken connection
                are left out, as another model may have taken the first one's place.
        """
        started, self._sure = time.perf_counter(), set()
        try:
            found = _run(lambda: self._all(jobs))
        finally:
            self.usage.seconds += time.perf_counter() - started
        failed = [answer for answer in found if isinstance(answer, BaseException)]
        for error in failed:
            if not isinstance(error, LanguageModelError):
                raise error
        if failed:
            answers = {at: found[at] for at in sorted(self._sure)}
            raise PartlyAnswered(str(failed[0]), answers) from failed[0]
        return [answer for answer in found if not isinstance(answer, BaseException)]

    async def _all(self, jobs: Sequence[Callable[[Talk], Awaitable[T]]]) -> list[T | BaseException]:
        try:
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient
        except ImportError as error:
            raise MissingResource("served models need: pip install 'malles-env[serve]'") from error
        gate = asyncio.Semaphore(self.concurrency)
        stop = asyncio.Event()  # after one job was given up, those not begun are not sent

        async def one(at: int, job: Callable[[Talk], Awaitable[T]], talk: Talk) -> T:
            async with gate:
                if stop.is_set():
                    raise LanguageModelError("not asked: a request before it was given up")
                try:
                    found = await job(talk)
                except LanguageModelError:
                    stop.set()
                    raise
                if not self.faulty:
                    self._sure.add(at)
                return found

        async with AsyncOpenAI(
            base_url=self.base_url,
            api_key=self.api_key,
            timeout=self.patience.timeout,
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(follow_redirects=False),
        ) as client:
            if self.api_key == NO_KEY:
                client.organization = client.project = None  # else taken from the environment
            talk = Talk(client, self)
            return list(
                await asyncio.gather(*(one(at, job, talk) for at, job in enumerate(jobs)), return_exceptions=True)
            )


class Talk:
    """Requests of one call to `ServerClient.ask`."""

    def __init__(self, client: Any, server: ServerClient) -> None:
        self.client, self.server = client, server

    async def get(self, path: str) -> Any:
        """Return what the server has at `path`, as JSON."""
        return await self._try(lambda: self.client.get(path, cast_to=object), lambda found: found)

    async def post(self, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], T]) -> T:
        """Send a request until `read` can use its answer.

        Raises:
            Unsupported: The server refuses the request for good.
            LanguageModelError: No usable answer after all attempts; the message names the last fault.
        """
        return await self._try(lambda: self.client.post(path, cast_to=object, body=body), read)

    async def _try(self, send: Callable[[], Awaitable[Any]], read: Callable[[Any], T]) -> T:
        patience, usage = self.server.patience, self.server.usage
        fault, unusable = "", 0
        for attempt in range(patience.attempts):
            asked = None
            try:
                # the client's own timeout is per piece: an answer that drips in would never end
                return read(_whole(await asyncio.wait_for(send(), patience.timeout)))
            except Unusable as error:
                fault, unusable = str(error), unusable + 1
            except Exception as error:
                fault, asked = self._judge(error)
            if attempt + 1 == patience.attempts or unusable == _UNUSABLE_TRIES:
                break
            usage.retries += 1
            await asyncio.sleep(patience.wait(attempt, asked))
        usage.failures += 1
        raise LanguageModelError(f"{self._who()} {fault}")

    def _who(self) -> str:
        return f"language model server {self.server.shown}:"

    def _judge(self, error: Exception) -> tuple[str, str | None]:
        """Return a passing fault in words and the wait the server asks for; raise what will not pass."""
        import openai

        if isinstance(error, openai.APITimeoutError | asyncio.TimeoutError):
            self.server.faulty = True
            return f"no answer within {self.server.patience.timeout:g} s; it is overloaded or stopped", None
        if isinstance(error, openai.APIStatusError):
            status, told = error.status_code, " ".join(str(error.message).split())[:300]
            if status in _BUSY or (status >= 500 and status != 501):
                return f"keeps answering {status} ({told})", error.response.headers.get("retry-after")
            self.server.usage.failures += 1
            if 300 <= status < 400:
                raise LanguageModelError(f"{self._who()} redirects ({status}); not followed, name the server itself")
            key = _NO_KEY_SENT if status in (401, 403) and self.server.api_key == NO_KEY else ""
            raise Unsupported(f"{self._who()} refuses with {status} ({told}){key}") from error
        if isinstance(error, openai.APIConnectionError):
            self.server.faulty = True
            return f"cannot be reached ({error.__cause__ or error}); is it running?", None
        if isinstance(error, ValueError | RecursionError | openai.APIResponseValidationError):
            return "answers something that is not JSON", None
        raise error


def _whole(found: Any) -> Any:
    if not isinstance(found, dict):
        raise Unusable("answers something that is not a JSON object")
    return found


def _run(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end, also where a loop already runs (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(make())).result()


__getattr__ = old_names(__name__)
