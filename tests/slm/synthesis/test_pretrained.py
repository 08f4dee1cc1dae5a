"""Models that are loaded, saved and loaded again: the same speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from codec import HHCodec
from slm import GenerationSettings, SpeechLM, Synthesizer
from slm.model.model_folder import COMPANIONS
from slm.synthesis.models import shipped_codec_of
from slm.synthesis.voices import VOICES_NAME, default_voice
from slm.text.sentencepiece_tokenizer import TextTokenizer
from slm.text.tokenizer import load_tokenizer
from tests.codec.test_hub import header_of, hub  # noqa: F401 - a fixture
from tests.support.fake_hub import TOKEN, FakeHub

CODEC, LM = "hh-mini-24k", "hh-mini-slm"


def test_the_files_beside_a_model_are_known() -> None:
    assert VOICES_NAME in COMPANIONS


@pytest.mark.large
def test_a_shipped_synthesizer_is_the_same_after_saving(tmp_path: Path) -> None:
    first = Synthesizer.from_pretrained(CODEC, LM)
    said = first.tts("Good morning.", voice="kathleen", seed=1)
    # The language model alone keeps lexicon and voices, the codec alone all of it.
    SpeechLM.from_pretrained(LM).save_pretrained(tmp_path / "alone")
    HHCodec.from_pretrained(CODEC).save_pretrained(tmp_path / "codec alone")
    first.save_pretrained(tmp_path / "both")
    for folders in ((tmp_path / "codec alone", tmp_path / "alone"), (tmp_path / "both",)):
        again = Synthesizer.from_pretrained(*folders).tts("Good morning.", voice="kathleen", seed=1)
        np.testing.assert_array_equal(again.codes, said.codes)
        np.testing.assert_array_equal(again.waveform, said.waveform)
    for folder in (tmp_path / "alone", tmp_path / "both" / "lm"):
        assert sorted(path.name for path in folder.iterdir()) == [
            "config.yaml",
            "lexicon.xz",
            "model.safetensors",
            "voices.json",
        ]
        assert default_voice(folder) == "kathleen"


def test_another_text_model_replaces_the_one_it_came_with(
    model_folders: tuple[Path, Path], tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    lm = SpeechLM.from_pretrained(model_folders[1])
    lm.save_pretrained(tmp_path / "kept")
    assert load_tokenizer(tmp_path / "kept").fingerprint == tokenizer.fingerprint
    other = TextTokenizer.train(["other words of another text"] * 2, tmp_path / "text")
    lm.save_pretrained(tmp_path / "other", other)
    assert load_tokenizer(tmp_path / "other").fingerprint == other.fingerprint
    assert (tmp_path / "other" / VOICES_NAME).is_file()


def test_voices_that_were_added_and_taken_away_are_saved_so(
    model_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    synthesizer = Synthesizer.from_pretrained(*model_folders)
    synthesizer.voices = {"ben": np.arange(5)}
    synthesizer.save_pretrained(tmp_path)
    assert list(Synthesizer.from_pretrained(tmp_path).voices) == ["ben"]


def test_a_folder_without_both_models_is_refused(model_folders: tuple[Path, Path]) -> None:
    with pytest.raises(
        ValueError, match=r"Synthesizer\.save_pretrained, got .* without codec and lm"
    ):
        Synthesizer.from_pretrained(model_folders[0])


def test_one_model_alone_is_refused_with_the_call_that_works(
    model_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = model_folders[1]
    own = SpeechLM.from_pretrained(folder).config.codec_fingerprint
    for given, call in {
        LM: rf"\(lm='{LM}'\) takes its codec, {CODEC}",
        folder: rf"\(codec, '{folder}'\), with the codec of codes {own}",
        CODEC: rf"\('{CODEC}', lm\), with a language model of its codes",
        tmp_path: "give codec and language model",
    }.items():
        with pytest.raises(ValueError, match=rf"save_pretrained, got .*'{given}' .*{call}"):
            Synthesizer.from_pretrained(given)
    for codec_name in (CODEC, None):
        with pytest.raises(ValueError, match=rf"a language model, got the codec '{CODEC}'"):
            Synthesizer.from_pretrained(codec_name, CODEC)
    with pytest.raises(ValueError, match=rf"a language model, got the codec '{CODEC}'"):
        shipped_codec_of(CODEC)


def test_a_language_model_alone_gets_the_shipped_codec_of_its_codes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load, loaded = HHCodec.from_pretrained, []
    monkeypatch.setattr(
        HHCodec, "from_pretrained", lambda name, **more: loaded.append(name) or load(name, **more)
    )
    made = Synthesizer.from_pretrained(lm=LM)
    assert loaded == [CODEC]  # of both that come along only this one, once
    assert made.codec.fingerprint == load(CODEC).fingerprint
    with pytest.raises(ValueError, match="a codec and a language model, got neither"):
        Synthesizer.from_pretrained()


def test_models_that_were_loaded_in_inference_mode_speak(
    model_folders: tuple[Path, Path],
) -> None:
    settings = GenerationSettings(temperature=0)
    expected = Synthesizer.from_pretrained(*model_folders).tts("the fox", settings=settings)
    with torch.inference_mode():
        made = Synthesizer.from_pretrained(*model_folders)
        inside = made.tts("the fox", settings=settings)
    outside = made.tts("the fox", settings=settings)
    for speech in (inside, outside):
        np.testing.assert_array_equal(speech.waveform, expected.waveform)


def test_the_default_type_of_torch_changes_nothing() -> None:
    names = "hh-mini-24k-v2", "hh-mini-slm-v2"
    first = Synthesizer.from_pretrained(*names)
    expected = first.tts("Good morning.", seed=1)
    codes = first.encode(expected.waveform)

    def check(synthesizer: Synthesizer) -> None:
        made = synthesizer.tts("Good morning.", seed=1)
        np.testing.assert_array_equal(made.codes, expected.codes)
        np.testing.assert_array_equal(made.waveform, expected.waveform)
        np.testing.assert_array_equal(synthesizer.encode(expected.waveform), codes)

    for default in (torch.bfloat16, torch.float64):
        torch.set_default_dtype(default)
        try:
            check(first)
            check(Synthesizer.from_pretrained(*names))
        finally:
            torch.set_default_dtype(torch.float32)


def test_models_are_loaded_in_the_precision_and_on_the_device_asked_for(
    model_folders: tuple[Path, Path], make_waveform: Callable[..., np.ndarray]
) -> None:
    made = Synthesizer.from_pretrained(*model_folders, device="cpu", dtype=torch.bfloat16)
    assert made.codec.dtype == made.lm.head.weight.dtype == torch.bfloat16
    assert made.codec.encoder.training is False
    speech = made.tts("the quick brown fox", prompt=make_waveform(0.4))
    assert np.isfinite(speech.waveform).all()
    with pytest.raises(ValueError, match="device 'gpu'"):
        Synthesizer.from_pretrained(*model_folders, device="gpu")


def test_a_language_model_goes_to_the_hub_and_comes_back(
    hub: FakeHub,  # noqa: F811
    model_folders: tuple[Path, Path],
) -> None:
    synthesizer = Synthesizer.from_pretrained(*model_folders)
    synthesizer.lm.push_to_hub("me/my-lm", token=TOKEN, license="cc-by-4.0")
    files = hub.repositories["me/my-lm"]["main"]
    assert {"README.md", "text.model", "voices.json"} <= set(files)
    header = header_of(files["README.md"].decode())
    assert header["pipeline_tag"] == "text-to-speech"
    assert header["license"] == "cc-by-4.0"
    loaded = Synthesizer.from_pretrained(model_folders[0], "me/my-lm", token=TOKEN)
    text = "the quick brown fox"
    np.testing.assert_array_equal(loaded.tts(text).codes, synthesizer.tts(text).codes)
    with pytest.raises(ValueError, match=r"'me/nothing' is neither a speech LM folder"):
        SpeechLM.from_pretrained("me/nothing")
