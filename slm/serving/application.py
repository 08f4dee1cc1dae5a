"""The routes of the server, over a `Speaker` and a `Worker`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from slm.synthesis.requests import SPEEDS

from .errors import FAILED, answer_errors
from .formats import MEDIA_TYPES, writable_formats
from .guard import HEALTH, Guard
from .messages import DEFAULT_VOICE, ApiError, SpeechBody
from .speaker import Asked, Speaker
from .worker import Busy, Job, Worker

_GONE = 499  # nobody reads it: the client has left
_LOG = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class Limits:
    """Bounds of what is taken.

    Attributes:
        characters: Of a text.
        body_bytes: Of a request.
        waiting: Requests that wait while one is being answered.
    """

    characters: int = 4096
    body_bytes: int = 1 << 17
    waiting: int = 32


def make_application(
    speaker: Speaker,
    names: Sequence[str],
    limits: Limits | None = None,
    *,
    api_key: str | None = None,
) -> FastAPI:
    """Build the application.

    Args:
        speaker: Speaks.
        names: Of its model, the first as it is shown.
        limits: Of requests.
        api_key: That every request but `/health` has to carry; None for no key.

    Raises:
        ValueError: No name, or a negative limit.
    """
    limits = limits or Limits()
    if not names or not all(names):
        raise ValueError(f"expected a name of the model, got {'an empty one' if names else 'none'}")
    service = _Service(speaker, names, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.worker.close)

    # Pages that show the interface would load scripts of other hosts.
    app = FastAPI(title="hh-slm", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, api_key=api_key, body_bytes=limits.body_bytes)
    answer_errors(app)
    app.get(HEALTH)(service.health)
    app.get("/v1/models")(service.models)
    app.get("/v1/models/{name:path}")(service.model)
    app.get("/v1/voices")(service.voices)
    app.post("/v1/audio/speech", response_class=Response)(service.speech)
    return app


class _Service:
    """Handlers of the routes."""

    def __init__(self, speaker: Speaker, names: Sequence[str], limits: Limits) -> None:
        self.speaker, self.names, self.limits = speaker, list(names), limits
        self.worker = Worker(limits.waiting)
        self.formats = writable_formats(speaker.sample_rate)
        self._begun = int(time.time())

    async def health(self) -> dict[str, Any]:
        """The state of the server, and the number of unfinished requests."""
        return {"status": "ok", "model": self.names[0], "unfinished": self.worker.unfinished}

    async def models(self) -> dict[str, Any]:
        """Every name of the model."""
        return {"object": "list", "data": [self._described(name) for name in self.names]}

    async def model(self, name: str) -> dict[str, Any]:
        """One name of the model."""
        self._check_model(name)
        return self._described(name)

    async def voices(self) -> dict[str, Any]:
        """Names of the voices."""
        default = self.speaker.default_voice
        data = [
            {"id": name, "object": "voice", "default": name == default}
            for name in self.speaker.voices
        ]
        return {"object": "list", "data": data}

    async def speech(self, body: SpeechBody, request: Request) -> Response:
        """Speak a text."""
        asked = self._checked(body)
        try:
            job = self.worker.submit(partial(self.speaker.answer, asked))
        except Busy as busy:
            raise ApiError(
                429,
                str(busy),
                code="rate_limit_exceeded",
                headers={"Retry-After": str(busy.retry_after)},
            ) from busy
        try:
            # What is wrong with a text shows before the first bytes.
            first = await _unless_gone(job.next(), request)
            if first is not None and asked.delivery == "whole":
                await job.next()  # its end, so that whoever has the answer finds room for the next
        except ValueError as error:
            raise ApiError(400, str(error), param="input") from error
        except Exception as error:
            # The log has the traceback; the client gets none of it.
            _LOG.exception("a text could not be spoken")
            raise ApiError(500, FAILED) from error
        except BaseException:
            job.cancel()
            raise
        if first is None:
            job.cancel()
            return Response(status_code=_GONE)
        kind = "text/event-stream" if asked.delivery == "sse" else MEDIA_TYPES[asked.format]
        headers = {"X-Sample-Rate": str(self.speaker.sample_rate)}
        if asked.delivery == "whole":
            return Response(first, media_type=kind, headers=headers)
        return _Streamed(job, first, kind, headers)

    def _checked(self, body: SpeechBody) -> Asked:
        """The request of a body.

        Raises:
            ApiError: A field that the models or the limits do not allow.
        """
        self._check_model(body.model)
        self._check_unsupported(body)
        if not body.input.strip():
            raise ApiError(400, "expected a text, got an empty one", param="input")
        if len(body.input) > self.limits.characters:
            raise ApiError(
                400,
                f"expected a text of at most {self.limits.characters} characters, got "
                f"{len(body.input)}",
                param="input",
                code="string_above_max_length",
            )
        named = body.voice if isinstance(body.voice, str) else body.voice.id
        voice: str | None = named
        # A name is looked up among the model's voices, and nothing else is done with it.
        if named not in self.speaker.voices:
            if named != DEFAULT_VOICE:
                known = ", ".join([DEFAULT_VOICE, *self.speaker.voices])
                raise ApiError(400, f"expected a voice of: {known}; got {named!r}", param="voice")
            voice = self.speaker.default_voice
        delivery = body.stream_format or "whole"
        return Asked(
            body.input,
            voice,
            body.seed,
            body.language,
            body.response_format,
            delivery,
            body.speed,
        )

    def _check_model(self, name: str) -> None:
        if name not in self.names:
            raise ApiError(
                404,
                f"expected a model of: {', '.join(self.names)}; got {name!r}",
                param="model",
                code="model_not_found",
            )

    def _check_unsupported(self, body: SpeechBody) -> None:
        """Refuse what OpenAI's API has and these models do not."""
        if body.response_format not in self.formats:
            raise ApiError(
                400,
                f"expected a response_format of: {', '.join(self.formats)}; got "
                f"{body.response_format!r}, which this server cannot write",
                param="response_format",
            )
        least, most = SPEEDS if self.speaker.has_speeds else (1.0, 1.0)
        if not least <= body.speed <= most:
            raise ApiError(
                400,
                f"expected a speed in [{least:g}, {most:g}], got {body.speed:g}",
                param="speed",
            )
        if body.instructions:
            raise ApiError(
                400, "expected no instructions: the model takes none", param="instructions"
            )

    def _described(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._begun, "owned_by": "hh-slm"}


class _Streamed(StreamingResponse):
    """An answer that is sent while it is made; its job ends with it, whoever ends first."""

    def __init__(
        self, job: Job[bytes], first: bytes, media_type: str, headers: dict[str, str]
    ) -> None:
        super().__init__(_with_rest(first, job), media_type=media_type, headers=headers)
        self._job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._job.cancel()


async def _with_rest(first: bytes, job: Job[bytes]) -> AsyncIterator[bytes]:
    yield first
    while (made := await job.next()) is not None:
        yield made


async def _unless_gone(made: Awaitable[bytes | None], request: Request) -> bytes | None:
    """Wait for a part of an answer; None where the client leaves before."""
    waiting = asyncio.ensure_future(made)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else None
    finally:
        waiting.cancel()
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving


async def _disconnected(request: Request) -> None:
    """Wait until the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
