"""A real server in a thread, and OpenAI's client: bytes, limits, errors, clients that leave."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soundfile

from slm.serving.application import Limits, make_application
from slm.serving.server import listen, make_server, url_of
from slm.serving.speaker import Asked, Speaker
from slm.serving.worker import Check
from slm.synthesis.long_stream import stream_long
from slm.synthesis.long_text import join, sentence_requests, speak_long
from slm.synthesis.synthesizer import Synthesizer

TEXT = "The quick brown fox. Seven green hills!"
NAME = "tiny"
ASKED: dict[str, Any] = {"model": NAME, "input": TEXT, "voice": "ann"}


@pytest.fixture(scope="module")
def synthesizer(model_folders: tuple[Path, Path]) -> Synthesizer:
    return Synthesizer.from_pretrained(*model_folders)


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


@pytest.fixture(scope="module")
def served(synthesizer: Synthesizer) -> Iterator[Served]:
    with serving(Speaker(synthesizer, "ann")) as server:
        yield server


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")


def test_a_whole_answer_is_what_the_command_writes(
    served: Served, synthesizer: Synthesizer, tmp_path: Path
) -> None:
    whole = join(speak_long(synthesizer, TEXT, voice="ann", seed=7), seed=7)
    for name in ("wav", "flac"):
        whole.save(tmp_path / f"a.{name}")
        expected = (tmp_path / f"a.{name}").read_bytes()
        assert served.spoken(response_format=name, seed=7, voice="default") == expected
    assert served.spoken(response_format="wav", seed=8) != (tmp_path / "a.wav").read_bytes()
    samples = np.frombuffer(served.spoken(response_format="pcm", seed=7), "<i2")
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.wav", dtype="int16")[0], samples)


def test_streamed_bytes_are_the_same_raw_with_a_header_and_as_events(
    served: Served, synthesizer: Synthesizer
) -> None:
    stream = np.concatenate(list(stream_long(synthesizer, TEXT, voice="ann", seed=3)))
    expected = np.round(np.clip(stream, -1, 1) * 32767).astype("<i2").tobytes()
    options: dict[str, Any] = {**ASKED, "stream_format": "audio", "extra_body": {"seed": 3}}
    with served.openai.audio.speech.with_streaming_response.create(
        **options, response_format="pcm"
    ) as answer:
        assert "content-length" not in answer.headers
        assert answer.headers["x-sample-rate"] == str(synthesizer.codec.sample_rate)
        assert b"".join(answer.iter_bytes()) == expected
    wav = served.spoken(response_format="wav", seed=3, stream_format="audio")
    assert wav[44:] == expected
    assert soundfile.info(io.BytesIO(wav)).samplerate == synthesizer.codec.sample_rate
    events = served.spoken(response_format="pcm", seed=3, stream_format="sse").decode()
    contents = [json.loads(each.removeprefix("data: ")) for each in events.split("\n\n") if each]
    deltas = [each["audio"] for each in contents if each["type"] == "speech.audio.delta"]
    assert b"".join(map(base64.b64decode, deltas)) == expected
    assert contents[-1]["type"] == "speech.audio.done"
    assert contents[-1]["usage"]["output_tokens"] > 0


def test_lossy_formats_are_written_where_they_can_be(served: Served) -> None:
    for name, container in (("mp3", "MP3"), ("opus", "OGG")):
        if container in soundfile.available_formats():
            made = served.spoken(response_format=name, stream_format="audio")
            assert soundfile.info(io.BytesIO(made)).format == container
    error = served.refused(response_format="aac")
    assert (error["status"], error["param"]) == (400, "response_format")
    assert "wav" in error["message"]


def test_models_voices_and_health_are_told(served: Served) -> None:
    assert [model.id for model in served.openai.models.list()] == [NAME, "tts-1"]
    assert served.openai.models.retrieve("tts-1").owned_by == "hh-slm"
    with pytest.raises(openai.NotFoundError, match="tiny, tts-1"):
        served.openai.models.retrieve("no/such")
    voices = served.http.get("/v1/voices").json()["data"]
    assert voices == [{"id": "ann", "object": "voice", "default": True}]
    health = {"status": "ok", "model": NAME, "unfinished": 0}
    assert served.http.get("/health").json() == health
    assert served.http.get("/nothing").json()["error"]["message"] == "Not Found"


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "gpt"}, 404, "model"),
        ({"input": ""}, 400, "input"),
        ({"input": "..."}, 400, "input"),
        ({"input": "漢字"}, 400, "input"),
        ({"input": "a" * 4097}, 400, "input"),
        ({"input": 5}, 400, "input"),
        ({"voice": "/etc/passwd"}, 400, "voice"),
        ({"voice": {"id": "bob"}}, 400, "voice"),
        ({"voice": 7}, 400, "voice"),
        ({"speed": 1.5}, 400, "speed"),
        ({"instructions": "whisper"}, 400, "instructions"),
        ({"seed": -1}, 400, "seed"),
        ({"seed": True}, 400, "seed"),
        ({"seed": "1"}, 400, "seed"),
        ({"speed": True}, 400, "speed"),
        ({"prompt": "voice.wav"}, 400, "prompt"),
        ({"stream_format": "both"}, 400, "stream_format"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    served: Served, fields: dict[str, Any], status: int, param: str
) -> None:
    error = served.refused(**fields)
    assert (error["status"], error["param"]) == (status, param)
    assert error["type"] == "invalid_request_error"


def test_a_body_that_is_no_json_is_refused(served: Served) -> None:
    for kind in ("application/json", "text/plain"):
        response = served.http.post(
            "/v1/audio/speech", content=b"{not", headers={"Content-Type": kind}
        )
        assert response.status_code == 400
        assert response.json()["error"]["param"] is None


def test_a_voice_may_be_an_object(served: Served) -> None:
    asked: dict[str, Any] = {"input": "a fox", "response_format": "pcm"}
    assert served.spoken(voice={"id": "ann"}, **asked) == served.spoken(**asked)


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
    with serving(Speaker(synthesizer, "ann"), key="secret") as server:
        for key in ("other", "secre"):
            with pytest.raises(openai.AuthenticationError):
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


def test_a_text_without_a_voice_keeps_the_first_sentences_voice(synthesizer: Synthesizer) -> None:
    parts = speak_long(synthesizer, TEXT, seed=2)
    request = sentence_requests(synthesizer, TEXT, seed=2)[1]
    second = replace(request, voice=parts[0].codes)
    first, _, *rest = stream_long(synthesizer, TEXT, seed=2)
    np.testing.assert_array_equal(first, parts[0].waveform)
    np.testing.assert_array_equal(
        np.concatenate(rest), np.concatenate(list(synthesizer.stream(**vars(second))))
    )


class Failing(Speaker):
    """Fails after the first bytes."""

    def answer(self, asked: Asked, check: Check) -> Iterator[bytes]:
        yield next(iter(super().answer(asked, check)))
        raise RuntimeError("inside")


def test_speech_that_breaks_off_is_no_whole_answer(synthesizer: Synthesizer) -> None:
    with serving(Failing(synthesizer, "ann")) as server:
        for delivery in ("audio", "sse"):
            with pytest.raises(httpx.RemoteProtocolError):
                server.post(response_format="pcm", stream_format=delivery)
        error = server.refused(response_format="pcm")
        assert (error["status"], error["type"]) == (500, "server_error")
        assert "inside" not in error["message"]
        assert server.http.get("/health").json()["unfinished"] == 0


def test_a_route_that_fails_is_told_without_its_inside(
    synthesizer: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Speaker) -> list[str]:
        raise RuntimeError("inside")

    with serving(Speaker(synthesizer, "ann")) as server:
        monkeypatch.setattr(Speaker, "voices", property(fail))
        answer = server.http.get("/v1/voices")
        assert answer.status_code == 500
        assert answer.headers["connection"] == "close"  # as it is, lest it be used again
        assert answer.json()["error"]["type"] == "server_error"
        assert "inside" not in answer.text


def test_other_methods_and_broken_fields_are_refused(served: Served) -> None:
    answer = served.http.get("/v1/audio/speech")
    assert answer.status_code == 405
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    # A number beyond all, and none at all: legal for Python's JSON alone.
    for field in ('"speed": 1e400', '"speed": NaN', '"seed": 1e400', '"voice": "\\ud800"'):
        body = '{"model": "tiny", "input": "a fox", "response_format": "wav", ' + field + "}"
        answer = served.http.post(
            "/v1/audio/speech", content=body, headers={"Content-Type": "application/json"}
        )
        assert (answer.status_code, field) == (400, field)
        assert answer.json()["error"]["param"] == field.split('"')[1]


def test_a_server_stops_while_requests_wait(synthesizer: Synthesizer) -> None:
    speaker = Held(synthesizer, "ann")
    with ThreadPoolExecutor(3) as pool:
        with serving(speaker) as server:
            asked = [pool.submit(server.post, response_format="pcm") for _ in range(3)]
            until(lambda: server.http.get("/health").json()["unfinished"] == 3)
        # All have an answer or a connection that was closed, and none is spoken any more.
        for each in asked:
            with pytest.raises(httpx.HTTPError):
                each.result(timeout=10).raise_for_status()
    assert (speaker.begun, speaker.ended) == (1, 1)


def test_wrong_limits_and_names_build_no_server(synthesizer: Synthesizer) -> None:
    speaker = Speaker(synthesizer)
    for names in ([], ["a", ""]):
        with pytest.raises(ValueError, match="expected a name of the model"):
            make_application(speaker, names)
    with pytest.raises(ValueError, match="expected 0 waiting requests or more, got -1"):
        make_application(speaker, ["a"], Limits(waiting=-1))
