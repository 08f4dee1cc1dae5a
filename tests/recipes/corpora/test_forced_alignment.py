"""Forced alignment of speech that eSpeak NG speaks, whose words lie where it says them."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest

from recipes.corpora import forced_alignment
from recipes.corpora.espeak import VOICES, Espeak
from recipes.corpora.forced_alignment import (
    Aligner,
    AlignmentError,
    dictionary_lines,
)
from slm.text.lexicon import Lexicon
from slm.text.phone_tokenizer import PAUSE_ID, is_word_start, word_units
from tests.support.builders import SPOKEN

pytest.importorskip("pocketsphinx")
pytest.importorskip("espeakng_loader")
RATE = 22_050


def test_phones_lie_end_to_end_over_the_clip(aligner: Aligner, waveform: np.ndarray) -> None:
    units = aligner.units(waveform, RATE, SPOKEN)
    assert units[0].start == 0
    assert units[-1].end == pytest.approx(len(waveform) / RATE)
    assert all(a.end == b.start for a, b in itertools.pairwise(units))
    assert sum(is_word_start(each.unit) for each in units) == 7
    boat = [each.unit for each in units if each.unit != PAUSE_ID][-3:]
    assert boat == word_units(["B", "OW", "T"])


def test_silence_before_the_words_moves_them_and_nothing_else(
    aligner: Aligner, waveform: np.ndarray
) -> None:
    later = aligner.units(np.pad(waveform, (RATE, 0)), RATE, SPOKEN)
    units = aligner.units(waveform, RATE, SPOKEN)
    starts = [each.start for each in units if is_word_start(each.unit)]
    moved = [each.start for each in later if is_word_start(each.unit)]
    np.testing.assert_allclose(np.array(moved[1:]) - 1.0, starts[1:], atol=0.06)
    assert later[0].end - units[0].end == pytest.approx(1.0, abs=0.1)


def test_words_outside_the_dictionary_are_said_by_the_lexicon(
    aligner: Aligner, waveform: np.ndarray
) -> None:
    units = aligner.units(waveform, RATE, "The old man found a red bohtt.")
    assert units == aligner.units(waveform, RATE, SPOKEN)


@pytest.mark.parametrize("text", ["I own I was weak.", "I tell you that.", "I think it is time."])
def test_words_of_one_sound_are_aligned(aligner: Aligner, text: str) -> None:
    with Espeak() as espeak:
        waveform = espeak.speak(text, VOICES[1])
    units = aligner.units(waveform, RATE, text)
    assert sum(is_word_start(each.unit) for each in units) == len(text.split())


def test_a_text_that_does_not_fit_is_an_error_that_says_so(aligner: Aligner) -> None:
    with pytest.raises(AlignmentError, match="no word"):
        aligner.units(np.zeros(RATE), RATE, "...")
    with pytest.raises(AlignmentError):
        aligner.units(np.zeros(RATE // 4), RATE, SPOKEN * 4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The old man", "expected all speech to be of its text, got .* in the pauses"),
        ("found a red boat", "expected all speech to be of its text, got .* in the pauses"),
        ("It was a good score.", "expected all speech to be of its text, got .* in the pauses"),
        ("It is a cheap fish shop.", "the text does not fit the audio"),
    ],
)
def test_a_text_of_other_words_or_of_a_part_is_found(
    aligner: Aligner, waveform: np.ndarray, text: str, reason: str
) -> None:
    with pytest.raises(AlignmentError, match=reason):
        aligner.align(waveform, RATE, text)


def test_speech_without_the_sounds_of_its_text_is_found(
    aligner: Aligner, waveform: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of all texts that fill the speech, the ones that fit it least agree by chance with a fifth.
    monkeypatch.setattr(forced_alignment, "LEAST_AGREEMENT", 0.21)
    with pytest.raises(AlignmentError, match=r"expected the sounds of its text in 21% .*, got 20%"):
        aligner.align(waveform, RATE, "A lion in a new zoo.")


def test_an_alignment_carries_the_share_of_sounds_that_agree(
    aligner: Aligner, waveform: np.ndarray
) -> None:
    assert 0.5 < aligner.align(waveform, RATE, SPOKEN).score <= 1.0


def test_an_aligner_can_be_sent_to_another_process(aligner: Aligner, waveform: np.ndarray) -> None:
    units = aligner.units(waveform, RATE, SPOKEN)
    assert pickle.loads(pickle.dumps(aligner)).units(waveform, RATE, SPOKEN) == units


def test_an_alignment_does_not_depend_on_the_clips_before_it(waveform: np.ndarray) -> None:
    noise = [np.random.default_rng(seed).normal(size=len(waveform)) for seed in range(18, 25)]
    levels = (0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.02)
    clips = [waveform + level * each for level, each in zip(levels, noise, strict=True)]
    lexicon = Lexicon({})

    def units(aligner: Aligner, clip: np.ndarray) -> object:
        try:
            return aligner.units(clip, RATE, SPOKEN)
        except AlignmentError as error:
            return str(error)

    together = Aligner(lexicon)
    for clip in clips[:-1]:
        units(together, clip)
    assert units(together, clips[-1]) == units(Aligner(lexicon), clips[-1])


def test_the_dictionary_of_the_package_is_in_cmu_format() -> None:
    lines = dictionary_lines()
    assert len(lines) > 100_000
    assert "cat K AE T\n" in lines
