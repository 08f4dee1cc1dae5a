"""A real server in a thread, and OpenAI's client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slm.serving.application import Limits, make_application
from slm.serving.server import listen, make_server, url_of
from slm.serving.speaker import Asked, Speaker
from slm.serving.worker import Check

if TYPE_CHECKING:
    import httpx
    import openai

TEXT = "The quick brown fox. Seven green hills!"
NAME = "tiny"
ASKED: dict[str, Any] = {"model": NAME, "input": TEXT, "voice": "ann"}


class Held(Speaker):
    """Begins no answer before `gate` is open, and counts those it has begun and ended."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.gate, self.begun, self.ended = threading.Event(), 0, 0

    def answer(self, asked: Asked, check: Check) -> Iterator[bytes]:
        self.begun += 1
        try:
            while not self.gate.wait(0.01):
                check()
            for made in super().answer(asked, check):
                yield made
                while asked.text.startswith("Never"):
                    time.sleep(0.01)
                    check()
        finally:
            self.ended += 1


@dataclass
class Served:
    """A server that runs in a thread, and clients of it."""

    url: str
    openai: openai.OpenAI
    http: httpx.Client

    def spoken(self, **fields: Any) -> bytes:
        extra = {name: fields.pop(name) for name in ("seed",) if name in fields}
        return self.openai.audio.speech.create(**{**ASKED, **fields}, extra_body=extra).content

    def post(self, **fields: Any) -> httpx.Response:
        return self.http.post("/v1/audio/speech", json={**ASKED, **fields})

    def refused(self, **fields: Any) -> dict[str, Any]:
        """The error of a request that must be refused, with its status."""
        response = self.post(**{"response_format": "wav", **fields})
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return {"status": response.status_code, **error}


@contextmanager
def serving(
    speaker: Speaker, limits: Limits | None = None, key: str | None = None
) -> Iterator[Served]:
    import httpx
    import openai

    server = make_server(make_application(speaker, [NAME, "tts-1"], limits, api_key=key))
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        url = url_of(listener)
        try:
            # Loading certificates, which nothing here needs, takes longer than all else.
            with (
                openai.OpenAI(
                    base_url=f"{url}/v1",
                    api_key=key or "any",
                    max_retries=0,
                    http_client=openai.DefaultHttpxClient(verify=False),
                ) as client,
                httpx.Client(base_url=url, verify=False, timeout=60) as http,
            ):
                yield Served(url, client, http)
        finally:
            server.should_exit = True
            thread.join()


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")
