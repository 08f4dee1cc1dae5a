"""Text normalising, edit counts and the WER metric."""

import unicodedata

import numpy as np
import pytest

from eval.metrics.normalizers import normalize_text
from eval.metrics.wer import WerMetric, character_edits, word_edits
from eval.protocols import Item, MetricError, Recognizer, Score, ScoredItem

RATE = 24000


class Echo:
    """A recogniser with one transcript for everything."""

    id = "echo"

    def __init__(self, words):
        self.words = words

    def transcribe(self, waveform, sample_rate):
        return self.words


@pytest.mark.parametrize(
    ("text", "basic", "joined"),
    [
        ("Hello, World!", "hello world", "hello world"),
        ("Don\u2019t stop 'now'.", "don't stop now", "don't stop 'now'"),
        ("a well-known  fact", "a well known fact", "a wellknown fact"),
        ("Caf\u00e9 \u2014 50 %", "caf\u00e9 50", "caf\u00e9 50"),
        ("...", "", ""),
    ],
)
def test_normalizers(text, basic, joined):
    assert normalize_text(text) == basic
    assert normalize_text(text, "joined") == joined


def test_the_normalizer_of_seedtts_joins_words_and_keeps_numbers():
    """Marks but the apostrophe vanish, so a hyphen joins; "50" and "fifty" stay two words."""
    assert normalize_text("Well-known: it's 50.", "seedtts") == "wellknown it's 50"
    assert word_edits("fifty", "50", normalizer="seedtts").rate == 1.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one \u2014 two", "one two"),
        ("\u201cHello,\u201d she said\u2026", "hello she said"),
        ("don\u2019t", "dont"),
        ("don't", "don't"),
        ("caf\u00e9 \u00b7 \uff01\u3002", "caf\u00e9"),
        ("\u00bfque?", "\u00bfque"),  # not in the protocol's list
        ("\uff0e", "\uff0e"),  # likewise
    ],
)
def test_the_normalizer_of_seedtts_deletes_what_the_protocol_deletes(text, words):
    assert normalize_text(text, "seedtts") == words


def test_the_id_tells_the_two_definitions_of_seedtts_apart():
    assert WerMetric(Echo("a"), normalizer="seedtts").info.id == "wer.echo.seedtts2"
    assert WerMetric(Echo("a")).info.id == "wer.echo.basic"


@pytest.mark.parametrize("normalizer", ["basic", "joined"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u0915\u093f", "\u0915\u0940"),  # Hindi ki, kii
        ("\u0c15\u0c3e", "\u0c15\u0c3f"),  # Telugu kaa, ki
        ("\u0e01\u0e34", "\u0e01\u0e35"),  # Thai ki, kii
    ],
)
def test_vowel_signs_are_part_of_words(one, other, normalizer):
    assert normalize_text(f"{one}, {one}!", normalizer) == f"{one} {one}"
    assert word_edits(one, other, normalizer=normalizer).rate == 1.0


@pytest.mark.parametrize("normalizer", ["basic", "joined"])
@pytest.mark.parametrize("text", ["caf\u00e9 \u00fcber na\u00efve", "\u0130zmir", "\ud55c\uae00"])
def test_composed_and_decomposed_letters_are_alike(text, normalizer):
    parted = unicodedata.normalize("NFD", text)
    assert normalize_text(text, normalizer) == normalize_text(parted, normalizer)
    assert word_edits(text, parted, normalizer=normalizer).errors == 0


def test_marks_without_a_letter_and_joiners_are_no_words():
    assert normalize_text("love \u2764\ufe0f \u0301 1\ufe0f\u20e3") == "love 1"
    # Persian "I want", with and without the joiner that only changes its look.
    assert normalize_text("\u0645\u06cc\u200c\u062e") == "\u0645\u06cc\u062e"
    assert (
        normalize_text("\u0915\u093f'\u0915 '\u0915\u093f'") == "\u0915\u093f'\u0915 \u0915\u093f"
    )


def test_the_normalizer_of_whisper_makes_numbers_alike():
    pytest.importorskip("whisper_normalizer")
    assert word_edits("Fifty dollars", "$50", normalizer="whisper_en").rate == 0.0
    metric = WerMetric(Echo("a"), normalizer="whisper_en")
    assert ("whisper-normalizer", "0.1.") in metric.info.packages


def test_a_wer_of_an_unknown_normalizer_is_refused():
    with pytest.raises(ValueError, match="normalizer: expected one of"):
        WerMetric(Echo("a"), normalizer="none")


def test_an_unknown_normalizer_is_refused():
    with pytest.raises(ValueError, match="basic"):
        normalize_text("a", "none")


def test_word_edits_by_hand():
    """One word replaced, one lost, one added against four."""
    got = word_edits("The cat sat down.", "the bat sat on")
    assert (got.substitutions, got.deletions, got.insertions) == (2, 0, 0)
    got = word_edits("one two three four", "one too three four five")
    assert (got.substitutions, got.deletions, got.insertions) == (1, 0, 1)
    assert got.rate == pytest.approx(0.5)


def test_an_empty_hypothesis_deletes_every_word():
    got = word_edits("one two three", "")
    assert (got.deletions, got.rate) == (3, 1.0)


def test_character_edits_by_hand():
    got = character_edits("abc d", "abx d")
    assert (got.substitutions, got.reference_length) == (1, 5)


def test_an_empty_reference_is_an_error_and_no_number():
    with pytest.raises(MetricError, match="no word"):
        word_edits("?!", "hello")


def test_the_metric_stores_counts_and_the_transcript(make_speech):
    score = WerMetric(Echo("one too three")).score(
        Item("a", None, make_speech(), RATE, "One two three")
    )
    assert score.values["wer"] == pytest.approx(1 / 3)
    assert score.values["word_errors"] == 1
    assert score.values["reference_words"] == 3
    assert score.details == {"heard": "one too three"}


def test_the_part_decides_what_is_transcribed(make_speech):
    only_reference = Item("a", make_speech(), None, RATE, "one")
    assert WerMetric(Echo("one"), "reference").score(only_reference).values["wer"] == 0.0
    with pytest.raises(MetricError, match="estimate"):
        WerMetric(Echo("one")).score(only_reference)


def test_id_names_recogniser_normaliser_and_part():
    assert WerMetric(Echo("")).info.id == "wer.echo.basic"
    assert WerMetric(Echo(""), "reference", "joined").info.id == "wer_original.echo.joined"
    assert isinstance(Echo(""), Recognizer)


@pytest.mark.parametrize("text", ["", "..."])
def test_an_item_without_text_is_an_error(make_speech, text):
    with pytest.raises(MetricError, match="no reference text"):
        WerMetric(Echo("one")).score(Item("a", None, make_speech(), RATE, text))


def test_silence_is_not_recognised():
    with pytest.raises(MetricError, match="silent"):
        WerMetric(Echo("one")).score(Item("a", None, np.zeros(RATE), RATE, "one"))


def test_words_that_may_be_invented_are_counted_in_the_summary():
    """They were told beside each clip alone, of which a report shows five."""

    class Told:
        id = "told"

        def transcribe(self, waveform, sample_rate):
            raise AssertionError

    metric = WerMetric(Told())
    sure = ScoredItem("a", "", Score({}, {"windows": "1"}))
    invented = ScoredItem(
        "b", "", Score({}, {"windows": "2", "possibly invented": "1 of 2 windows"})
    )
    assert metric.corpus([sure, invented]) == {"possibly_invented": 1}
    assert metric.corpus([sure]) == {"possibly_invented": 0}
    # A recogniser without such guards has no count, not a count of 0.
    assert metric.corpus([ScoredItem("a", "", Score({}, {"heard": "x"}))]) == {}
