"""What a server answers that fails, stops or is built wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from slm.serving.application import Limits, make_application
from slm.serving.speaker import Asked, Speaker
from slm.serving.worker import Check
from slm.synthesis.synthesizer import Synthesizer
from tests.slm.serving.served import Held, Served, serving, until


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


def test_a_server_stops_while_requests_wait(
    synthesizer: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seconds that the requests are given to end, which these never do.
    monkeypatch.setattr("slm.serving.server._GRACE", 1)
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


def test_a_language_that_is_none_is_refused_by_its_field(served: Served) -> None:
    """Its numbers were left as they are, as those of a language that is not written out."""
    answer = served.post(language="klingon")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "language"
    assert "expected the code of a language" in error["message"]
