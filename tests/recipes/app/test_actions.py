"""What the page does, without a browser: uploads, codec, speech, continuations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec.audio import read_audio, write_audio
from codec.bitstream.format import CodedRecording
from codec.cli.main import main as hh_codec
from recipes.app.actions import Coded, described, go_on, reconstruct, speak
from recipes.app.models import Models, load_models
from recipes.app.uploads import Upload, UploadLimits, take
from slm.synthesis.long_text import join, speak_long

CODEC, LM = "hh-mini-24k", "hh-mini-slm"
TEXT = "Good morning. How are you?"
Waveforms = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models([CODEC], [LM])


@pytest.fixture
def upload(make_waveform: Waveforms) -> Upload:
    return Upload("voice.wav", make_waveform(duration=1.0, sample_rate=16_000), 16_000)


def test_an_upload_is_read_once_and_deleted(tmp_path: Path, make_waveform: Waveforms) -> None:
    path = tmp_path / "a.wav"
    write_audio(path, make_waveform(duration=0.5, sample_rate=16_000), 16_000)
    expected = read_audio(path, 24_000)
    first = take(str(path), None, UploadLimits(), tmp_path)
    assert first is not None
    assert not path.exists()
    np.testing.assert_array_equal(first.at(24_000), expected)
    assert take(str(path), first, UploadLimits(), tmp_path) is first
    assert take(None, first, UploadLimits(), tmp_path) is None


def test_what_may_not_be_uploaded_is_refused_by_name_and_deleted(
    tmp_path: Path, make_waveform: Waveforms
) -> None:
    long, text, wide = (tmp_path / name for name in ("long.wav", "text.wav", "wide.wav"))
    for limits, path, message in (
        (UploadLimits(seconds=1), long, "at most 1 s, got 2.0 s"),
        (UploadLimits(num_bytes=99), long, "at most 99 bytes"),
        (UploadLimits(), text, "^text.wav: cannot be read"),
        (UploadLimits(), wide, "got 4 at 192,000 Hz"),
    ):
        write_audio(long, make_waveform(duration=2.0))
        text.write_text("no recording")
        soundfile.write(wide, np.zeros((9, 4)), 192_000)
        with pytest.raises(ValueError, match=message):
            take(str(path), None, limits, tmp_path)
        assert not path.exists()


def test_a_file_elsewhere_is_neither_read_nor_deleted(
    tmp_path: Path, make_waveform: Waveforms
) -> None:
    path, folder = tmp_path / "own.wav", tmp_path / "uploads"
    folder.mkdir()
    write_audio(path, make_waveform(duration=0.5))
    (folder / "link.wav").symlink_to(path)
    for asked in (path, folder / ".." / "own.wav", folder / "link.wav"):
        with pytest.raises(ValueError, match="that was uploaded"):
            take(str(asked), None, UploadLimits(), folder)
    assert path.exists()


def test_a_reconstruction_is_that_of_the_command(
    models: Models, tmp_path: Path, make_waveform: Waveforms
) -> None:
    write_audio(tmp_path / "a.wav", make_waveform(duration=1.0))
    command = [str(tmp_path / "a.wav"), "--codec", CODEC]
    assert hh_codec(["encode", command[0], str(tmp_path / "a.hhc"), *command[1:]]) == 0
    assert hh_codec(["reconstruct", command[0], str(tmp_path / "b.wav"), *command[1:]]) == 0
    read = take(command[0], None, UploadLimits(), tmp_path)
    coded = reconstruct(models.codecs[CODEC], read)
    assert coded.stream == (tmp_path / "a.hhc").read_bytes()
    assert CodedRecording.from_bytes(coded.stream).codes.tolist() == coded.codes.tolist()
    np.testing.assert_allclose(coded.reconstruction, read_audio(tmp_path / "b.wav"), atol=1e-4)
    assert coded.summary().startswith("1.00 s, 24 codes out of 8,192")
    assert "312 bit/s" in coded.summary()


def test_pictures_are_drawn_in_one_scale(make_waveform: Waveforms) -> None:
    waveform = make_waveform(duration=0.3)
    coded = Coded(
        waveform, np.float32(0.1) * waveform, 24_000, np.arange(8, dtype=np.uint16), b"", 8192
    )
    loud, quiet = coded.pictures()
    assert loud.startswith("data:image/png;base64,")
    assert loud != quiet


def test_a_text_is_spoken_sentence_by_sentence_as_by_the_command(models: Models) -> None:
    synthesizer = models.synthesizers[LM]
    voice = models.default_voices[LM]
    states = list(speak(synthesizer, TEXT, voice=voice, seed=1))
    whole = join(speak_long(synthesizer, TEXT, voice=voice, seed=1), seed=1)
    assert [(each.done, each.total) for each in states] == [(1, 2), (2, 2)]
    assert len(states[0].speech.codes) < len(states[1].speech.codes)
    np.testing.assert_array_equal(states[-1].speech.codes, whole.codes)
    assert described(whole, 23.4375).startswith(f"{whole.duration:.2f} s")


def test_a_text_is_spoken_at_a_speed_as_by_the_command(models: Models) -> None:
    synthesizer, voice = models.synthesizers[LM], models.default_voices[LM]
    *_, own = speak(synthesizer, TEXT, voice=voice, seed=1)
    *_, slow = speak(synthesizer, TEXT, voice=voice, seed=1, speed=0.5)
    whole = join(speak_long(synthesizer, TEXT, voice=voice, seed=1, speed=0.5), seed=1)
    np.testing.assert_array_equal(slow.speech.codes, whole.codes)
    assert len(slow.speech.codes) > 1.5 * len(own.speech.codes)


@pytest.mark.parametrize("speed", [None, 0, 5, "fast"])
def test_a_speed_that_is_none_is_refused(models: Models, speed: object) -> None:
    # A visitor may empty the field.
    with pytest.raises(ValueError, match="expected a speed in"):
        next(speak(models.synthesizers[LM], TEXT, speed=speed))  # type: ignore[arg-type]


def test_speech_ends_where_nobody_takes_it(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    synthesizer, spoken = models.synthesizers[LM], []
    synthesize = type(synthesizer).synthesize

    def counted(self: object, requests: object, **options: object) -> object:
        spoken.append(1)
        return synthesize(self, requests, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(type(synthesizer), "synthesize", counted)
    states = speak(synthesizer, "One. Two. Three.", seed=1)
    next(states)
    states.close()  # type: ignore[attr-defined]
    assert spoken == [1]


def test_an_own_recording_takes_the_place_of_a_named_voice(models: Models, upload: Upload) -> None:
    synthesizer = models.synthesizers[LM]
    voice = models.default_voices[LM]
    (own,) = speak(synthesizer, "Yes.", voice=voice, prompt=upload)
    (alone,) = speak(synthesizer, "Yes.", prompt=upload)
    (named,) = speak(synthesizer, "Yes.", voice=voice)
    np.testing.assert_array_equal(own.speech.codes, alone.speech.codes)
    assert own.speech.codes.tolist() != named.speech.codes.tolist()


def test_a_recording_goes_on(models: Models, upload: Upload) -> None:
    speech = go_on(models.synthesizers[LM], upload, 0.5, seed=3, temperature=0.5)
    assert speech.num_given_codes == 23
    assert 23 < len(speech.codes) <= 23 + 12
    assert "0.98 s were given" in described(speech, 23.4375)


@pytest.mark.parametrize("text", ["", "  ", "...", "a" * 2001])
def test_texts_that_cannot_be_spoken_are_refused(models: Models, text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected"):
        next(speak(models.synthesizers[LM], text))


def test_nothing_is_done_without_a_recording(models: Models) -> None:
    with pytest.raises(ValueError, match="record or upload"):
        reconstruct(models.codecs[CODEC], None)
    with pytest.raises(ValueError, match="record or upload"):
        go_on(models.synthesizers[LM], None, 1.0)


def test_a_language_model_without_its_codec_is_refused() -> None:
    with pytest.raises(ValueError, match="name it by --codec"):
        load_models([], [LM])


@pytest.mark.parametrize("seed", [None, 1 << 64, 0.5, True])
def test_a_seed_that_is_none_is_refused(models: Models, upload: Upload, seed: object) -> None:
    # A visitor may empty the field.
    with pytest.raises(ValueError, match="expected seeds"):
        next(speak(models.synthesizers[LM], "Good morning.", seed=seed))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected seeds"):
        go_on(models.synthesizers[LM], upload, 1.0, seed=seed)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected seconds"):
        go_on(models.synthesizers[LM], upload, None)  # type: ignore[arg-type]
