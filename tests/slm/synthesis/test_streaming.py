from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slm.generation.session import GenerationSession
from slm.synthesis.long_text import join, speak_best, speak_long
from slm.synthesis.streaming import StreamWindow
from slm.synthesis.synthesizer import Synthesizer

TEXT = "the quick brown fox jumps over seven green hills"


@pytest.fixture(scope="module")
def synthesizer(model_folders: tuple[Path, Path]) -> Synthesizer:
    return Synthesizer.from_pretrained(*model_folders)


@pytest.mark.parametrize("voice", [None, "ann"])
def test_chunks_end_to_end_are_the_whole(synthesizer: Synthesizer, voice: str | None) -> None:
    """With context beyond what the decoder hears; the whole is one attempt's."""
    whole = synthesizer.tts_batch([TEXT], voices=[voice], seeds=[3], max_attempts=1)[0]
    window = StreamWindow(chunk=3, before=40, after=40)
    chunks = list(synthesizer.stream(TEXT, voice=voice, seed=3, window=window))
    np.testing.assert_allclose(np.concatenate(chunks), whole.waveform, atol=2e-5)


def test_a_stream_that_goes_on_from_a_prompt_is_the_whole_too(
    synthesizer: Synthesizer, make_waveform: Callable[..., np.ndarray]
) -> None:
    said: dict[str, Any] = {"prompt": make_waveform(duration=0.5), "prompt_text": "a lazy dog"}
    several: dict[str, Any] = {f"{name}s": [value] for name, value in said.items()}
    whole = synthesizer.tts_batch([TEXT], seeds=[3], max_attempts=1, **several)[0]
    window = StreamWindow(chunk=3, before=60, after=60)
    chunks = list(synthesizer.stream(TEXT, seed=3, window=window, **said))
    np.testing.assert_allclose(np.concatenate(chunks), whole.waveform, atol=2e-5)
    short = list(synthesizer.stream(TEXT, seed=3, window=StreamWindow(2, 8, 3), **said))
    assert sum(map(len, short)) == len(whole.waveform)
    assert min(map(len, short)) > 0


def test_the_first_chunk_comes_before_the_speech_is_over(
    synthesizer: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    step = GenerationSession.step
    monkeypatch.setattr(GenerationSession, "step", lambda self: (steps.append(1), step(self)))
    window = StreamWindow(chunk=2, before=4, after=1)
    first = next(synthesizer.stream(TEXT, seed=3, window=window))
    assert len(steps) == window.delay_codes == 3
    # the last 10 ms wait, for they might have to be faded out
    assert len(first) == 2 * synthesizer.codec.hop_length - 240
    with pytest.raises(ValueError, match="chunk >= 1"):
        StreamWindow(chunk=0)


def test_the_best_of_several_is_the_one_the_verifier_likes(synthesizer: Synthesizer) -> None:
    def shortest(candidates: Sequence[Any], text: str, prompt: object) -> list[float]:
        assert text == TEXT
        return [-len(each.codes) for each in candidates]

    best = speak_best(synthesizer, TEXT, 4, {"shortest": shortest}, seed=1)
    assert len(best.best.codes) == min(len(each.codes) for each in best.candidates)
    np.testing.assert_array_equal(best.candidates[0].codes, synthesizer.tts(TEXT, seed=1).codes)
    with pytest.raises(ValueError, match="at least one candidate"):
        speak_best(synthesizer, TEXT, 0)


def test_long_text_is_spoken_by_sentence_in_the_first_ones_voice(synthesizer: Synthesizer) -> None:
    text = "A lazy dog. Seven green hills. Rain falls."
    parts = speak_long(synthesizer, text, seed=2)
    assert len(parts) == 3
    assert "" not in synthesizer.voices
    synthesizer.voices["first"] = parts[0].codes
    again = synthesizer.tts_batch(
        ["Seven green hills."], voices=["first"], seeds=[parts[1].seed], max_attempts=1
    )[0]
    np.testing.assert_array_equal(again.codes, parts[1].codes)
    whole = join(parts, pause=0.1)
    gap = round(0.1 * whole.sample_rate)
    assert len(whole.waveform) == sum(len(part.waveform) for part in parts) + 2 * gap
    assert len(whole.codes) == sum(len(part.codes) for part in parts)
