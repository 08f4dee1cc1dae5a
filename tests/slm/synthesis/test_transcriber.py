"""Recordings, codes and files to text."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec import HHCodec
from codec.audio import write_audio
from codec.bitstream.format import CodedRecording, StreamHeader
from slm.generation.config import TranscriptionSettings
from slm.synthesis.synthesizer import Synthesizer
from slm.synthesis.transcriber import Transcriber
from slm.text.sentencepiece_tokenizer import TextTokenizer
from tests.support.builders import SENTENCE, new_lm

SHORT = TranscriptionSettings(beam=2, max_text_tokens=5)


@pytest.fixture
def transcriber(codec: HHCodec, tokenizer: TextTokenizer) -> Transcriber:
    lm = new_lm(codec, tokenizer, max_seq_len=160, transcribes=True)
    return Transcriber(lm, tokenizer, codec)


def coded(codec: HHCodec, codes: np.ndarray, fingerprint: str = "") -> CodedRecording:
    sizes = codec.sample_rate, codec.hop_length, codec.codebook_size
    header = StreamHeader(fingerprint or codec.code_fingerprint, *sizes)
    return CodedRecording(header, codes.astype(np.uint16), len(codes) * codec.hop_length)


def test_a_recording_gives_the_same_text_as_a_file_a_waveform_and_codes(
    transcriber: Transcriber,
    codec: HHCodec,
    make_waveform: Callable[..., np.ndarray],
    tmp_path: Path,
) -> None:
    waveform = make_waveform(duration=0.5)
    write_audio(tmp_path / "a.wav", waveform)
    given = transcriber.codes_of(tmp_path / "a.wav")
    coded(codec, given).save(tmp_path / "a.hhc")
    kinds = [tmp_path / "a.wav", str(tmp_path / "a.hhc"), given]
    found = transcriber.transcribe(kinds, SHORT)
    assert len({each.text_ids for each in found}) == 1
    assert found[0].num_codes == 12
    assert found[0].duration == pytest.approx(12 / codec.frame_rate)
    synthesizer = Synthesizer(codec, transcriber.lm, transcriber.tokenizer)
    assert synthesizer.transcribe(kinds[0], settings=SHORT) == found[0]
    assert transcriber.transcribe([waveform], SHORT)[0].num_codes == 12


def test_a_text_is_words_without_marks_of_pieces(transcriber: Transcriber) -> None:
    ids = transcriber.tokenizer.encode(SENTENCE)
    assert transcriber.tokenizer.decode(ids).strip() == SENTENCE


def test_what_cannot_be_transcribed_is_refused(
    transcriber: Transcriber,
    codec: HHCodec,
    tokenizer: TextTokenizer,
    make_waveform: Callable[..., np.ndarray],
    tmp_path: Path,
) -> None:
    alone = Transcriber(transcriber.lm, tokenizer)
    with pytest.raises(ValueError, match="no codec is loaded, got sound"):
        alone.transcribe([make_waveform(duration=0.5)])
    foreign = coded(codec, np.arange(4), "f" * 16)
    foreign.save(tmp_path / "foreign.hhc")
    with pytest.raises(ValueError, match="made by codec ffff"):
        alone.transcribe([tmp_path / "foreign.hhc"])
    with pytest.raises(ValueError, match=r"within the model's 6\.7 s, got 8\.5 s"):
        alone.transcribe([np.zeros(200, int)])
    write_audio(tmp_path / "long.wav", make_waveform(duration=7.0))
    with pytest.raises(ValueError, match=r"within the model's 6\.7 s, got 7\.0 s"):
        transcriber.transcribe([tmp_path / "long.wav"])
    with pytest.raises(ValueError, match="trained to transcribe"):
        Transcriber(new_lm(codec, tokenizer), tokenizer)
    other = TextTokenizer.train(["other words"] * 2, tmp_path / "text", vocab_size=16)
    with pytest.raises(ValueError, match="expected text model"):
        Transcriber(transcriber.lm, other)
    stranger = new_lm(codec, tokenizer, max_seq_len=160, transcribes=True)
    stranger.config = replace(stranger.config, codec_fingerprint="another")
    with pytest.raises(ValueError, match="expected codec another"):
        Transcriber(stranger, tokenizer, codec)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (np.zeros(0, np.int64), "with L >= 1"),
        (np.zeros((1, 5), np.int64), "with L >= 1"),
        (np.array([-1]), "integers in"),
        (np.array([1 << 40]), "integers in"),
        (np.ones(20_000, bool), "waveform of floats"),
        (np.ones(20_000, np.complex64), "waveform of floats"),
    ],
)
def test_other_arrays_are_refused_in_a_line(
    given: np.ndarray, reason: str, transcriber: Transcriber
) -> None:
    with pytest.raises(ValueError, match=reason):
        transcriber.codes_of(given)


def test_a_single_path_is_not_taken_for_a_list_of_letters(transcriber: Transcriber) -> None:
    with pytest.raises(ValueError, match=r"expected a list of recordings, got the single 'a.wav'"):
        transcriber.transcribe("a.wav")


def test_a_single_text_or_path_is_not_taken_for_those_of_a_batch(
    model_folders: tuple[Path, Path],
) -> None:
    synthesizer = Synthesizer.from_pretrained(*model_folders)
    path: Any = Path("in.wav")
    for call in (
        lambda: synthesizer.tts_batch("abc"),
        lambda: synthesizer.tts_batch(["abc"], voices="a"),
        lambda: synthesizer.score_batch("in.wav"),
        lambda: synthesizer.score_batch(path),
    ):
        with pytest.raises(ValueError, match=r"expected a list of .*, got the single"):
            call()
