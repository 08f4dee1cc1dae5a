from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codec import HHCodec
from codec.audio import read_audio, write_audio
from slm.data.vocabulary import Vocabulary
from slm.generation.config import GenerationSettings
from slm.generation.stopping import StopRules
from slm.model.speech_lm import SpeechLM
from slm.synthesis.synthesizer import PROMPT_CODES, Synthesizer
from slm.text.sentencepiece_tokenizer import TextTokenizer
from tests.support.codecs import voiced_codec

TEXT = "the quick brown fox"
Waveforms = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def synthesizer(model_folders: tuple[Path, Path]) -> Synthesizer:
    return Synthesizer.from_pretrained(*model_folders)


def test_speech_is_the_decoded_codes_and_repeats_with_its_seed(
    synthesizer: Synthesizer, codec: HHCodec
) -> None:
    first = synthesizer.tts(TEXT, seed=3)
    assert first.waveform.dtype == np.float32
    assert len(first.waveform) == len(first.codes) * codec.hop_length
    assert first.duration == pytest.approx(len(first.codes) / codec.frame_rate)
    assert first.num_given_codes == 0
    assert 0 <= first.codes.min() <= first.codes.max() < codec.codebook_size
    with_silence = np.concatenate([first.codes, synthesizer.silence_code])
    decoded = synthesizer.decode(with_silence)[: len(first.waveform)]
    np.testing.assert_array_equal(first.waveform[:-240], decoded[:-240])
    assert first.waveform[-1] == 0
    again, other = synthesizer.tts(TEXT, seed=3), synthesizer.tts(TEXT, seed=4)
    np.testing.assert_array_equal(again.codes, first.codes)
    assert other.codes.tolist() != first.codes.tolist()


def test_a_batch_gives_each_text_what_it_gets_alone(
    synthesizer: Synthesizer, make_waveform: Waveforms
) -> None:
    prompt = make_waveform(duration=0.4)
    settings = GenerationSettings(temperature=0)
    texts = [TEXT, "seven green hills", "a lazy dog"]
    together = synthesizer.tts_batch(
        texts, prompts=[None, prompt, None], voices=[None, None, "ann"], settings=settings
    )
    alone = [
        synthesizer.tts(texts[0], settings=settings),
        synthesizer.tts(texts[1], prompt=prompt, settings=settings),
        synthesizer.tts(texts[2], voice="ann", settings=settings),
    ]
    for row, single in zip(together, alone, strict=True):
        np.testing.assert_array_equal(row.codes, single.codes)


def test_length_follows_from_the_text(synthesizer: Synthesizer) -> None:
    """0.6 codes a character: 0.3 of that at least; twice that and a second at most."""
    lengths = [len(r.codes) for r in synthesizer.tts_batch([TEXT] * 6)]
    assert min(lengths) >= int(0.3 * 0.6 * len(TEXT))
    assert max(lengths) <= np.ceil(2 * 0.6 * len(TEXT) + synthesizer.codec.frame_rate)


def test_a_transcribed_prompt_is_spoken_on_from_but_not_returned(
    synthesizer: Synthesizer, make_waveform: Waveforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slm.generation.retries

    starts = []
    generate = slm.generation.retries.generate

    def spy(lm: SpeechLM, requests: list, *rest: object, **options: object) -> list:
        starts.extend(request.prompt for request in requests)
        return generate(lm, requests, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(slm.generation.retries, "generate", spy)
    prompt = make_waveform(duration=0.5)
    result = synthesizer.tts(TEXT, prompt=prompt, prompt_text="a lazy dog")
    vocabulary, hop = synthesizer.lm.vocabulary, synthesizer.codec.hop_length
    given = synthesizer.encode(prompt[: len(prompt) // hop * hop])
    assert starts[0][-len(given) :].tolist() == vocabulary.code_to_token(given).tolist()
    text = [int(t) for t in starts[0] if vocabulary.text_start <= t < vocabulary.code_start]
    assert synthesizer.tokenizer.decode(vocabulary.token_to_text(text)) == f"a lazy dog {TEXT}"
    assert len(result.waveform) == len(result.codes) * hop


def test_a_prompt_is_cut_to_what_training_used(
    synthesizer: Synthesizer, make_waveform: Waveforms
) -> None:
    hop, greedy = synthesizer.codec.hop_length, GenerationSettings(temperature=0)
    long = np.zeros(40 * hop, dtype=np.float32)
    long[: 12 * hop] = make_waveform(duration=1.0)[: 12 * hop]
    codes = synthesizer.encode(long)
    assert len(codes) == 40
    synthesizer.voices["long"], synthesizer.voices["cut"] = codes, codes[:12]
    first, second = (synthesizer.tts(TEXT, voice=name, settings=greedy) for name in ("long", "cut"))
    np.testing.assert_array_equal(first.codes, second.codes)


def test_continuation_starts_with_the_recordings_own_codes(
    synthesizer: Synthesizer, make_waveform: Waveforms
) -> None:
    hop = synthesizer.codec.hop_length
    waveform = make_waveform(duration=0.5)  # 11.7 frames: the last is not full
    result = synthesizer.continue_speech(waveform, 1.0, seed=1)
    given = synthesizer.encode(waveform[: 11 * hop])
    assert result.num_given_codes == 11
    np.testing.assert_array_equal(result.codes[:11], given)
    assert 1 <= len(result.codes) - 11 <= 23
    assert len(result.waveform) == len(result.codes) * hop
    with pytest.raises(ValueError, match=r"ask for at most 6\.3 s"):
        synthesizer.continue_speech(waveform, 60.0)
    for seconds in (0.0, -3.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="expected seconds > 0"):
            synthesizer.continue_speech(waveform, seconds)


def test_a_continuation_as_long_as_asked_for_is_not_rejected(
    synthesizer: Synthesizer, make_waveform: Waveforms
) -> None:
    result = synthesizer.continue_speech(make_waveform(duration=0.5), 0.1, seed=1)
    assert len(result.codes) - result.num_given_codes == 2
    assert (result.stopped, result.truncated, result.rejected) == ("limit", False, ())


def test_a_continuation_that_falls_silent_is_drawn_anew(
    synthesizer: Synthesizer, make_waveform: Waveforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here every code counts as silence, so that no try can do better."""
    every = StopRules(frozenset(range(synthesizer.codec.codebook_size)), longest_silence=5)
    monkeypatch.setitem(vars(synthesizer), "stop_rules", every)
    result = synthesizer.continue_speech(make_waveform(duration=0.5), 2.0, max_attempts=3)
    assert (result.stopped, result.truncated) == ("silence", True)
    assert result.rejected == ("silence",) * 3


def test_score_counts_every_code_of_the_recording(
    synthesizer: Synthesizer, make_waveform: Waveforms
) -> None:
    waveform = make_waveform(duration=0.5)
    plain = synthesizer.score(waveform)
    with_text = synthesizer.score(waveform, text=TEXT, prompt=waveform)
    assert plain.num_codes == with_text.num_codes == 12
    assert plain.log_likelihood < 0
    assert with_text.log_likelihood != plain.log_likelihood


def test_recordings_are_scored_together_as_alone(
    synthesizer: Synthesizer, make_waveform: Waveforms
) -> None:
    waveforms = [make_waveform(duration=duration) for duration in (0.5, 0.3, 0.8)]
    together = synthesizer.score_batch(waveforms, texts=[TEXT, None, TEXT], prompt=waveforms[0])
    for waveform, text, score in zip(waveforms, (TEXT, None, TEXT), together, strict=True):
        alone = synthesizer.score(waveform, text=text, prompt=waveforms[0])
        assert score.num_codes == alone.num_codes
        assert score.log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-3)


def test_parts_that_do_not_belong_together_are_refused(
    synthesizer: Synthesizer, lm: SpeechLM, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="expected codec codec-of-the-tests"):
        Synthesizer(synthesizer.codec, lm, synthesizer.tokenizer)
    with pytest.raises(ValueError, match=r"voice\.tokens: expected 0 for speech from a language"):
        Synthesizer(voiced_codec(), synthesizer.lm, synthesizer.tokenizer)
    other = TextTokenizer.train(["other words entirely"], tmp_path, vocab_size=40)
    with pytest.raises(ValueError, match="expected text model"):
        Synthesizer(synthesizer.codec, synthesizer.lm, other)


def test_requests_that_make_no_sense_are_refused(
    synthesizer: Synthesizer, make_waveform: Waveforms
) -> None:
    prompt = make_waveform(duration=0.2)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"text": "漢字"}, "at least one piece"),
        ({"text": TEXT, "voice": "bob"}, r"voice of \['ann'.*got 'bob'"),
        ({"text": TEXT, "voice": "ann", "prompt": prompt}, "got both"),
        ({"text": TEXT, "prompt_text": "words"}, "prompt with its transcript"),
        ({"text": None}, "expected a text, got None"),
        ({"text": " ".join([TEXT] * 30)}, "shorten the text"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            synthesizer.tts(**options)
    with pytest.raises(ValueError, match=r"seeds in .*got 100000000000000000000"):
        synthesizer.tts(TEXT, seed=10**20)
    for name in ("max_attempts", "max_rows"):
        none: dict[str, Any] = {name: 0}
        with pytest.raises(ValueError, match=f"{name} >= 1, got 0"):
            synthesizer.tts_batch([TEXT], **none)
    with pytest.raises(ValueError, match="voices for 2 texts, got 1"):
        synthesizer.tts_batch([TEXT, TEXT], voices=["ann"])


def test_a_model_without_a_length_prior_may_use_its_whole_context(
    codec: HHCodec, tokenizer: TextTokenizer, make_lm: Callable[..., SpeechLM]
) -> None:
    vocabulary = Vocabulary(tokenizer.vocab_size, codec.codebook_size, tokenizer.fingerprint)
    lm = make_lm(
        vocabulary=vocabulary.to_dict(), codec_fingerprint=codec.fingerprint, max_seq_len=40
    )
    assert lm.config.codes_per_character == 0
    result = Synthesizer(codec, lm, tokenizer).tts("a dog")
    assert 1 <= len(result.codes) <= 40


def test_a_model_speaks_through_every_codec_of_its_codes(
    codec: HHCodec, model_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Here the model knows the first codec by its whole fingerprint, as all did once."""
    other = HHCodec(codec.config).eval()
    other.load_state_dict(codec.state_dict())
    with torch.no_grad():
        next(other.vocoder.parameters()).add_(1e-3)
    other.save_pretrained(tmp_path / "unnamed")
    with pytest.raises(ValueError, match=f"expected codec {codec.fingerprint}"):
        Synthesizer.from_pretrained(tmp_path / "unnamed", model_folders[1])
    other.keep_codes_of(codec)
    other.save_pretrained(tmp_path / "named")
    made = [
        Synthesizer.from_pretrained(folder, model_folders[1]).tts(TEXT, voice="ann")
        for folder in (model_folders[0], tmp_path / "named")
    ]
    np.testing.assert_array_equal(made[0].codes, made[1].codes)
    assert not np.array_equal(made[0].waveform, made[1].waveform)


def test_saved_speech_is_read_back(synthesizer: Synthesizer, tmp_path: Path) -> None:
    result = synthesizer.tts(TEXT)
    result.save(tmp_path / "speech.wav")
    read = read_audio(tmp_path / "speech.wav", result.sample_rate)
    np.testing.assert_allclose(read, np.clip(result.waveform, -1, 1), atol=1e-4)


def test_of_a_long_prompt_no_more_is_encoded_than_a_window(
    synthesizer: Synthesizer,
    make_waveform: Waveforms,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rate, hop = synthesizer.codec.sample_rate, synthesizer.codec.hop_length
    prompt = np.tile(make_waveform(duration=1.0), 90)
    write_audio(tmp_path / "prompt.wav", prompt, rate)
    lengths: list[int] = []
    encode = synthesizer.encode

    def counting(waveform: np.ndarray) -> np.ndarray:
        lengths.append(len(waveform))
        return encode(waveform)

    monkeypatch.setattr(synthesizer, "encode", counting)
    settings = GenerationSettings(temperature=0)
    # Silence is encoded at first use.
    assert synthesizer.stop_rules is not None
    assert len(synthesizer.silence_code) == 1
    lengths.clear()
    synthesizer.tts(TEXT, prompt=prompt, settings=settings)
    synthesizer.tts(TEXT, prompt=tmp_path / "prompt.wav", settings=settings)
    synthesizer.score(make_waveform(duration=0.5), prompt=prompt)
    assert lengths == [
        PROMPT_CODES * hop,
        PROMPT_CODES * hop,
        PROMPT_CODES * hop,
        len(make_waveform(duration=0.5)),
    ]


def test_a_recording_beyond_the_context_is_refused_before_it_is_encoded(
    synthesizer: Synthesizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(waveform: np.ndarray) -> np.ndarray:
        raise AssertionError("encoded")

    monkeypatch.setattr(synthesizer, "encode", never)
    hop, most = synthesizer.codec.hop_length, synthesizer.lm.config.max_seq_len
    long = np.zeros((most + 1) * hop, np.float32)
    write_audio(tmp_path / "long.wav", long, synthesizer.codec.sample_rate)
    expected = f"within the model's {most} tokens"
    with pytest.raises(ValueError, match=expected):
        synthesizer.continue_speech(long, 1.0)
    with pytest.raises(ValueError, match=expected):
        synthesizer.score(long)
    for prompt in (long, tmp_path / "long.wav"):
        with pytest.raises(ValueError, match=expected):
            synthesizer.tts(TEXT, prompt=prompt, prompt_text="long")


def test_a_model_that_draws_no_durations_has_no_other_speed(synthesizer: Synthesizer) -> None:
    with pytest.raises(ValueError, match="expected speed 1 for a model that draws no durations"):
        synthesizer.tts("a fox", speed=1.1)
