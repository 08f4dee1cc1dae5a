"""Answers of a real server to OpenAI's client: bytes, streams, lists, refusals."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from slm.synthesis.long_stream import stream_long
from slm.synthesis.long_text import join, sentence_requests, speak_long
from slm.synthesis.synthesizer import Synthesizer
from tests.slm.serving.served import ASKED, NAME, TEXT, Served


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
    from openai import NotFoundError

    assert [model.id for model in served.openai.models.list()] == [NAME, "tts-1"]
    assert served.openai.models.retrieve("tts-1").owned_by == "hh-slm"
    with pytest.raises(NotFoundError, match="tiny, tts-1"):
        served.openai.models.retrieve("no/such")
    voices = served.http.get("/v1/voices").json()["data"]
    assert voices == [{"id": "ann", "object": "voice", "default": True}]
    health = {"status": "ok", "model": NAME, "unfinished": 0}
    assert served.http.get("/health").json() == health


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("POST", "/audio/speech", 404), ("GET", "/v1/audio/speech", 405)],
)
def test_a_path_that_is_not_there_is_told_which_are(
    served: Served, method: str, path: str, status: int
) -> None:
    answer = served.http.request(method, path)
    message = answer.json()["error"]["message"]
    assert answer.status_code == status
    assert "expected one of POST /v1/audio/speech, GET /v1/models" in message
    assert message.endswith(f"got {method} {path}")


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
    valid, form = json.dumps(ASKED).encode(), "application/x-www-form-urlencoded"
    for kind, content, said in (
        ("application/json", b"{not", "expected JSON, got text that is none: "),
        ("application/json", b"[1]", "expected a JSON object as the body"),
        ("application/json", b"", "expected a JSON object as the body"),
        # As curl's -d sends it alone.
        (form, valid, f"expected JSON with the header Content-Type: application/json, got {form}"),
        ("", valid, "expected JSON with the header Content-Type: application/json, got none"),
    ):
        headers = {"Content-Type": kind} if kind else {}
        response = served.http.post("/v1/audio/speech", content=content, headers=headers)
        assert response.status_code == 400
        assert response.json()["error"]["param"] is None
        assert response.json()["error"]["message"].startswith(said)


def test_a_refusal_says_what_was_expected_in_words_of_the_request(served: Served) -> None:
    for fields, said in (
        ({"sed": 7}, "expected fields of: model, input, voice, .*; got 'sed'"),
        ({"language": "xx"}, "^language: expected the code of a language"),
        ({"input": "\U0001f600"}, "at least one word, got '\U0001f600'"),
    ):
        assert re.search(said, served.refused(**fields)["message"])


def test_a_voice_may_be_an_object(served: Served) -> None:
    asked: dict[str, Any] = {"input": "a fox", "response_format": "pcm"}
    assert served.spoken(voice={"id": "ann"}, **asked) == served.spoken(**asked)


def test_a_text_without_a_voice_keeps_the_first_sentences_voice(synthesizer: Synthesizer) -> None:
    parts = speak_long(synthesizer, TEXT, seed=2)
    request = sentence_requests(synthesizer, TEXT, seed=2)[1]
    second = replace(request, voice=parts[0].codes)
    first, _, *rest = stream_long(synthesizer, TEXT, seed=2)
    np.testing.assert_array_equal(first, parts[0].waveform)
    np.testing.assert_array_equal(
        np.concatenate(rest), np.concatenate(list(synthesizer.stream(**vars(second))))
    )


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
