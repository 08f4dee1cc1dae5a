"""Guidance on voices, and turns of text and speech, as a synthesizer and a command take them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codec import HHCodec
from slm.cli.main import main
from slm.generation.config import GenerationSettings
from slm.synthesis.synthesizer import Synthesizer
from slm.text.sentencepiece_tokenizer import TextTokenizer
from tests.support.builders import new_lm

TEXT = "the quick brown fox jumps"
TURNS = GenerationSettings(temperature=0, interleaved=True)


@pytest.fixture(scope="module")
def synthesizer(codec: HHCodec, tokenizer: TextTokenizer) -> Synthesizer:
    turns = {"interleave_text": 2, "interleave_codes": 3}
    sizes = {"max_seq_len": 160, "codes_per_character": 0.6, "max_prompt_codes": 12}
    lm = new_lm(codec, tokenizer, **sizes, **turns)
    return Synthesizer(codec, lm, tokenizer, {"ann": np.arange(10)})


def test_a_text_is_spoken_in_turns_in_a_voice_or_without(synthesizer: Synthesizer) -> None:
    plain, voiced = (synthesizer.tts(TEXT, voice=voice, settings=TURNS) for voice in (None, "ann"))
    for made in (plain, voiced):
        # Every piece of the text but the last has its three codes.
        pieces = -(-len(synthesizer.tokenizer.encode(TEXT)) // 2)
        assert len(made.codes) >= 3 * (pieces - 1)
        assert len(made.waveform) == len(made.codes) * synthesizer.codec.hop_length
    chunks = list(synthesizer.stream(TEXT, voice="ann", settings=TURNS))
    assert sum(map(len, chunks)) == len(voiced.waveform)


def test_a_transcribed_prompt_has_no_turns_to_stand_in(
    synthesizer: Synthesizer, make_waveform: Callable[..., np.ndarray]
) -> None:
    prompt = make_waveform(duration=0.4)
    with pytest.raises(ValueError, match="where text and speech take turns"):
        synthesizer.tts(TEXT, prompt=prompt, prompt_text="a dog", settings=TURNS)


@pytest.mark.parametrize("transcript", [None, "a lazy dog"])
def test_guidance_on_a_prompt_is_there_with_and_without_its_transcript(
    synthesizer: Synthesizer, make_waveform: Callable[..., np.ndarray], transcript: str | None
) -> None:
    prompt = make_waveform(duration=0.5)
    bare, without = (
        synthesizer.tts(TEXT, settings=GenerationSettings(temperature=0)),
        synthesizer.tts(
            TEXT,
            prompt=prompt,
            prompt_text=transcript,
            settings=GenerationSettings(temperature=0, prompt_guidance=0.0),
        ),
    )
    np.testing.assert_array_equal(without.codes, bare.codes)


def test_a_continuation_takes_guidance_on_a_prompt_as_none(
    synthesizer: Synthesizer, make_waveform: Callable[..., np.ndarray]
) -> None:
    made = [
        synthesizer.continue_speech(
            make_waveform(duration=0.5),
            0.5,
            settings=GenerationSettings(temperature=0, prompt_guidance=scale),
        )
        for scale in (1.0, 3.0)
    ]
    np.testing.assert_array_equal(made[0].codes, made[1].codes)


def test_the_command_takes_the_same_options(
    model_folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec, lm = map(str, model_folders)
    command = ["tts", TEXT, "--codec", codec, "--lm", lm, "--out", str(tmp_path / "out.wav")]
    options = ["--prompt-guidance", "2", "--duration-temperature", "1", "--duration-top-p", "1"]
    assert main([*command, "--voice", "ann", *options]) == 0
    assert main([*command, "--duration-top-p", "3"]) == 2
    assert "duration_top_p" in capsys.readouterr().err
    assert main([*command, "--interleaved"]) == 2
    assert "interleave_text 0" in capsys.readouterr().err
