"""Limits of a server: many requests, clients that leave, large bodies, a key, faults."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from slm.serving.application import Limits
from slm.serving.speaker import Asked, Speaker
from slm.serving.worker import Check
from slm.synthesis.synthesizer import Synthesizer
from tests.slm.serving.served import ASKED, Held, Served, serving, until


def test_fifty_requests_at_once_lose_none(served: Served, synthesizer: Synthesizer) -> None:
    """All are answered where all may wait, and each with the speech of its own seed."""

    def ask(server: Served, seed: int) -> bytes:
        return server.spoken(input="a fox", response_format="pcm", seed=seed)

    with serving(Speaker(synthesizer, "ann"), Limits(waiting=50)) as roomy:
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(partial(ask, roomy), range(50)))
        assert roomy.http.get("/health").json()["unfinished"] == 0
    assert all(answers)
    assert [answers[seed] for seed in (0, 49)] == [ask(served, seed) for seed in (0, 49)]


def test_who_finds_no_room_to_wait_is_told_when_to_come_again(synthesizer: Synthesizer) -> None:
    speaker = Held(synthesizer, "ann")
    with serving(speaker, Limits(waiting=2)) as server, ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(server.post, input="a fox", response_format="pcm") for _ in range(50)]
        until(lambda: sum(each.done() for each in asked) == 47)
        speaker.gate.set()
        answers = [each.result() for each in asked]
    assert sorted(each.status_code for each in answers) == [200] * 3 + [429] * 47
    busy = next(each for each in answers if each.status_code == 429)
    assert 1 <= int(busy.headers["retry-after"]) <= 60
    assert busy.json()["error"]["type"] == "rate_limit_error"
    assert busy.json()["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("stream_format", [None, "audio"])
def test_a_client_that_leaves_ends_its_speech_and_makes_room(
    synthesizer: Synthesizer, stream_format: str | None
) -> None:
    speaker = Held(synthesizer, "ann")
    with serving(speaker, Limits(waiting=1)) as server:
        body = {**ASKED, "input": "Never a fox.", "response_format": "pcm"}
        body["stream_format"] = stream_format
        data = json.dumps(body).encode()
        head = "POST /v1/audio/speech HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(data)}\r\n\r\n"
        host, port = server.url.removeprefix("http://").split(":")
        # 1. Ask, read the headers of an answer that has some, and close the connection.
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + data)
            until(lambda: speaker.begun == 1)
            if stream_format is not None:
                speaker.gate.set()
                assert connection.recv(12) == b"HTTP/1.1 200"
        # 2. The speech ends, and the next is spoken.
        until(lambda: speaker.ended == 1)
        speaker.gate.set()
        assert server.spoken(input="a fox", response_format="pcm")
        assert server.http.get("/health").json()["unfinished"] == 0


def test_a_body_that_is_too_large_is_refused_stated_or_not(synthesizer: Synthesizer) -> None:
    with serving(Speaker(synthesizer, "ann"), Limits(body_bytes=200)) as server:
        error = server.refused(input="a" * 300)
        assert (error["status"], error["code"]) == (413, "body_too_large")
        chunks = (b" " * 100 for _ in range(10))
        response = server.http.post(
            "/v1/audio/speech", content=chunks, headers={"Content-Type": "application/json"}
        )
        assert response.status_code == 413
        assert "at most 200 bytes" in response.json()["error"]["message"]
        assert server.spoken(input="a fox", response_format="pcm")


def test_only_the_key_opens_the_server(synthesizer: Synthesizer) -> None:
    from openai import AuthenticationError

    with serving(Speaker(synthesizer, "ann"), key="secret") as server:
        for key in ("other", "secre"):
            with pytest.raises(AuthenticationError):
                server.openai.with_options(api_key=key).models.list()
        assert len(server.openai.models.list().data) == 2
        assert server.http.get("/v1/voices").status_code == 401
        assert server.http.get("/health").status_code == 200


def test_a_fault_of_the_server_is_told_without_its_inside(
    synthesizer: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Speaker, asked: Asked, check: Check) -> Iterator[bytes]:
        raise RuntimeError("inside")

    monkeypatch.setattr(Speaker, "answer", fail)
    with serving(Speaker(synthesizer, "ann")) as server:
        error = server.refused()
        assert (error["status"], error["type"]) == (500, "server_error")
        assert "inside" not in error["message"]
        assert server.http.get("/health").json()["status"] == "ok"
