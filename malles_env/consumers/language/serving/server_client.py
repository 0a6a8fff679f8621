"""The async client of one or several servers of the OpenAI protocol: load, retries with backoff, timeouts, counts."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
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
from malles_env.errors import LanguageModelError, MissingResource, brief, invalid

T = TypeVar("T")
_UNUSABLE_TRIES = 3
MOST_BYTES = 64_000_000
"""Bytes of an answer: some 500,000 tokens with their log probabilities."""
_BUSY = (408, 409, 425, 429)
_NO_KEY_SENT = (
    f"; no key was sent: OPENAI_API_KEY goes to servers that you name yourself or list in {TRUSTED_SERVERS}, not to "
    "those that a scenario file names"
)


class Unusable(Exception):
    """A whole answer of the server that cannot be used: something is missing in it, or it breaks the schema."""


class Replaced(Unusable):
    """An answer of a server that another may have taken the place of."""


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


@dataclass(eq=False)
class Server:
    """One of the servers of a client.

    Attributes:
        url: Base URL.
        load: Requests under way.
        sent: Requests sent so far.
        faulty: A connection broke or timed out since it was last looked at: another model may have taken its place.
        down: It gets no requests until it was looked at again, as others are there.
        client: Of the `openai` package, during a call.
    """

    url: str
    load: int = 0
    sent: int = 0
    faulty: bool = False
    down: bool = False
    client: Any = None

    @property
    def shown(self) -> str:
        """Scheme, host and port."""
        return origin(self.url)


class ServerClient:
    """Sends requests through the `openai` client. Redirects are not followed, so a key stays with its server.

    Of several servers, each request goes to the one with the fewest under way, and after a fault to another one. A
    server whose connection broke is left alone until somebody looked whether the same model answers (`look`).

    Args:
        urls: Base URL of each server, usually ending in ``/v1``; see `checked_url`.
        api_key: Sent as the bearer; with ``"none"``, nothing else that says who the user is is sent either.
        concurrency: Requests under way at once at each server, 1 or more.
        patience: How long to try.
        usage: Counts retries, failures and waiting time.

    Raises:
        InvalidInput: No server, or one twice.
    """

    def __init__(self, urls: Sequence[str], api_key: str, concurrency: int, patience: Patience, usage: Usage) -> None:
        if concurrency < 1:
            raise invalid("concurrency", concurrency, "1 or more")
        if not urls or len(set(urls)) < len(urls):
            raise invalid("base_url", f"{len(urls)} servers", "one or more, each once")
        self.api_key, self.concurrency = api_key, concurrency
        self.servers = [Server(checked_url(url)) for url in urls]
        self.shown = ", ".join(server.shown for server in self.servers)
        for url in urls:
            warn_if_readable(url)
        self.patience, self.usage = patience, usage
        self._sure: set[int] = set()

    @property
    def faulty(self) -> bool:
        """Whether a server that gets requests may have been replaced by another."""
        return any(server.faulty and not server.down for server in self.servers)

    def choose(self, but: Server | None = None) -> Server:
        """Return the server with the fewest requests under way, another one than `but` where there is one."""
        up = [server for server in self.servers if not server.down]
        others = [server for server in up if server is not but] or up
        return min(others, key=lambda server: (server.load, server.sent))

    def break_off(self, server: Server) -> None:
        """Note that a server's connection broke; with others there, it gets no more requests. The last one stays."""
        server.faulty = True
        server.down = any(not other.down for other in self.servers if other is not server)

    def look(self, job: Callable[[Talk], Awaitable[T]]) -> list[T | LanguageModelError]:
        """Do a job at every server, also those that are left alone; return what it returns, or why it failed."""
        alone = len(self.servers) == 1
        found = _run(lambda: self._all([job] * len(self.servers), self.servers))
        for answer in found:
            if isinstance(answer, BaseException) and (alone or not isinstance(answer, LanguageModelError)):
                raise answer
        return found  # type: ignore[return-value]

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

    async def _all(
        self, jobs: Sequence[Callable[[Talk], Awaitable[T]]], at: Sequence[Server] | None = None
    ) -> list[T | BaseException]:
        """Do jobs side by side: each at the server given for it, or anywhere, giving up after the first failure."""
        try:
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient
        except ImportError as error:
            raise MissingResource("served models need: pip install 'malles-env[serve]'") from error
        up = sum(not server.down for server in self.servers) if at is None else len(at)
        gate = asyncio.Semaphore(self.concurrency * up)
        stop = asyncio.Event()  # after one job was given up, those not begun are not sent

        async def one(number: int, job: Callable[[Talk], Awaitable[T]], talk: Talk) -> T:
            async with gate:
                if stop.is_set():
                    raise LanguageModelError("not asked: a request before it was given up")
                try:
                    found = await job(talk)
                except LanguageModelError:
                    if at is None:
                        stop.set()
                    raise
                if at is None and not talk.unsure:
                    self._sure.add(number)
                return found

        async with AsyncExitStack() as open_clients:
            for server in self.servers:
                server.load = 0
                server.client = await open_clients.enter_async_context(
                    AsyncOpenAI(
                        base_url=server.url,
                        api_key=self.api_key,
                        timeout=self.patience.timeout,
                        max_retries=0,
                        default_headers={"Accept-Encoding": "identity"},
                        http_client=DefaultAsyncHttpxClient(follow_redirects=False, event_hooks={"response": [_bound]}),
                    )
                )
                if self.api_key == NO_KEY:
                    server.client.organization = server.client.project = None  # else taken from the environment
            talks = [Talk(self, None if at is None else at[number]) for number in range(len(jobs))]
            answers = [one(number, job, talks[number]) for number, job in enumerate(jobs)]
            return list(await asyncio.gather(*answers, return_exceptions=True))


class Talk:
    """The requests of one job.

    Args:
        line: The client.
        only: The server that gets them; None: any.

    Attributes:
        unsure: The last answer came from a server that may have been replaced by another.
    """

    def __init__(self, line: ServerClient, only: Server | None = None) -> None:
        self.line, self.only, self.unsure = line, only, False

    async def get(self, path: str) -> Any:
        """Return what the server has at `path`, as JSON."""
        return await self._try(lambda client: client.get(path, cast_to=object), lambda found: found)

    async def post(self, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], T]) -> T:
        """Send a request until `read` can use its answer.

        Raises:
            Unsupported: The server refuses the request for good.
            LanguageModelError: No usable answer after all attempts; the message names the last fault.
        """
        return await self._try(lambda client: client.post(path, cast_to=object, body=body), read)

    async def _try(self, send: Callable[[Any], Awaitable[Any]], read: Callable[[Any], T]) -> T:
        patience, usage = self.line.patience, self.line.usage
        fault, unusable, tried = "", 0, set[Server]()
        server = self.only or self.line.choose()
        attempts = 1 if server.down else patience.attempts  # one that is looked at again while others do its work
        for attempt in range(attempts):
            asked = None
            try:
                return await self._once(server, send, read)
            except Exception as error:
                found = error.__cause__ if isinstance(error.__cause__, Unusable) else error
                if isinstance(found, Unusable):
                    fault, unusable = str(found), unusable + (not isinstance(found, Replaced))
                else:
                    fault, asked = self._judge(server, error)
            if attempt + 1 == attempts or unusable == _UNUSABLE_TRIES:
                break
            usage.retries += 1
            tried.add(server)
            server = self.only or self.line.choose(but=server)
            if server in tried:  # nobody is left who was not asked: wait before asking again
                await asyncio.sleep(patience.wait(attempt, asked))
        usage.failures += 1
        raise LanguageModelError(f"{_who(server)} {fault}")

    async def _once(self, server: Server, send: Callable[[Any], Awaitable[Any]], read: Callable[[Any], T]) -> T:
        server.load, server.sent = server.load + 1, server.sent + 1
        try:
            # the client's own timeout is per piece: an answer that drips in would never end
            found = await asyncio.wait_for(send(server.client), self.line.patience.timeout)
        finally:
            server.load -= 1
        if server.down and self.only is None:
            raise Replaced("answers after its connection broke")
        answer = read(_whole(found))
        self.unsure = server.faulty
        return answer

    def _judge(self, server: Server, error: Exception) -> tuple[str, str | None]:
        """Return a passing fault in words and the wait the server asks for; raise what will not pass."""
        import openai

        if isinstance(error, openai.APITimeoutError | asyncio.TimeoutError):
            self.line.break_off(server)
            return f"no answer within {self.line.patience.timeout:g} s; it is overloaded or stopped", None
        if isinstance(error, openai.APIStatusError):
            status, reason = error.status_code, " ".join(str(error.message).split())[:300]
            if status in _BUSY or (status >= 500 and status != 501):
                return f"keeps answering {status} ({reason})", error.response.headers.get("retry-after")
            self.line.usage.failures += 1
            if 300 <= status < 400:
                raise LanguageModelError(f"{_who(server)} redirects ({status}); not followed, name the server itself")
            key = _NO_KEY_SENT if status in (401, 403) and self.line.api_key == NO_KEY else ""
            raise Unsupported(f"{_who(server)} refuses with {status} ({reason}){key}") from error
        if isinstance(error, openai.APIConnectionError):
            self.line.break_off(server)
            return f"cannot be reached ({error.__cause__ or error}); is it running?", None
        if isinstance(error, ValueError | RecursionError | openai.APIResponseValidationError):
            return "answers something that is not JSON", None
        raise error


def _who(server: Server) -> str:
    return f"language model server {server.shown}:"


def _whole(found: Any) -> Any:
    if not isinstance(found, dict):
        raise Unusable("answers something that is not a JSON object")
    if found.get("error") and "choices" not in found:
        error = found["error"]
        message = error.get("message", error) if isinstance(error, dict) else error
        raise Unusable(f"answers with an error: {brief(message)}")
    return found


async def _bound(response: Any) -> None:
    """Let no answer take all memory: nothing packed is unpacked, and reading ends at a limit."""
    pieces = response.stream
    # of httpx or httpx2, whichever the openai package has
    stream: Any = next(kind for kind in type(pieces).__mro__ if kind.__name__ == "AsyncByteStream")

    class Bounded(stream):  # type: ignore[misc]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for piece in pieces:
                size += len(piece)
                if size > MOST_BYTES:
                    raise Unusable(f"answers with more than {MOST_BYTES:,} bytes")
                yield piece

        async def aclose(self) -> None:
            await pieces.aclose()

    if response.headers.get("content-encoding", "identity") not in ("", "identity"):
        raise Unusable("answers in a packed form that was not asked for")
    response.stream = Bounded()


def _run(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end, also where a loop already runs (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(make())).result()


__getattr__ = old_names(__name__)
