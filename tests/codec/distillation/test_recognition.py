from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from codec.audio.sources import CropPlace
from codec.distillation.recognition import RecognitionLoss, check_whole_clips, whole_texts

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def recognition(tmp_path_factory: pytest.TempPathFactory) -> RecognitionLoss:
    """A Whisper of random weights and a tokenizer of single letters."""
    folder = tmp_path_factory.mktemp("whisper")
    letters = [*"abcdefghijklmnopqrstuvwxyzĠ'", "<|endoftext|>"]
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    tokenizer = transformers.WhisperTokenizer(vocab=vocabulary, merges=[])
    specials = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    tokenizer.add_special_tokens({"extra_special_tokens": specials})
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=80,
        d_model=16,
        encoder_layers=1,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        pad_token_id=len(letters) - 1,
        bos_token_id=len(letters) - 1,
        eos_token_id=len(letters) - 1,
        decoder_start_token_id=len(letters),
        # large enough that predictions differ
        init_std=0.5,
    )
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
    return RecognitionLoss(str(folder))


def test_equal_states_are_at_zero_and_others_above(recognition: RecognitionLoss) -> None:
    states, others = torch.randn(2, 2, 7, 16)
    texts = ["ab c", "hello"]
    assert float(recognition(states, states, texts)) == pytest.approx(0, abs=1e-6)
    assert float(recognition(states, others, texts)) > 0.01


def test_the_gradient_reaches_the_rows_with_a_text_alone(recognition: RecognitionLoss) -> None:
    states = torch.randn(3, 7, 16, requires_grad=True)
    recognition(states, torch.randn(3, 7, 16), ["ab", None, ""]).backward()
    assert states.grad is not None
    assert float(states.grad[0].abs().sum()) > 0
    assert float(states.grad[1:].abs().sum()) == 0
    assert all(p.grad is None for p in recognition.decoder.parameters())


def test_a_batch_without_texts_is_at_zero_and_has_a_gradient(recognition: RecognitionLoss) -> None:
    states = torch.randn(2, 7, 16, requires_grad=True)
    loss = recognition(states, torch.randn(2, 7, 16), [None, None])
    loss.backward()
    assert float(loss.detach()) == 0


def test_rows_of_other_lengths_beside_one_do_not_change_it(recognition: RecognitionLoss) -> None:
    states, others = torch.randn(2, 2, 7, 16)
    one = float(recognition(states[:1], others[:1], ["ab"]))
    other = float(recognition(states[1:], others[1:], ["much longer"]))
    both = float(recognition(states, others, ["ab", "much longer"]))
    sizes = [len(recognition.tokens(text)) + 1 for text in ("ab", "much longer")]
    assert both == pytest.approx((one * sizes[0] + other * sizes[1]) / sum(sizes), rel=1e-4)


def test_capitals_are_words_like_others(recognition: RecognitionLoss) -> None:
    assert recognition.tokens("HE") != recognition.tokens("he")
    assert recognition.tokens("IT IS") == recognition.tokens("It is")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a Whisper with its tokenizer"):
        RecognitionLoss(str(tmp_path))


@dataclass
class Rows:
    """What is asked of a source here."""

    rows: list[dict[str, Any]] = field(default_factory=list)


def test_sources_of_which_no_crop_holds_a_whole_clip_are_refused() -> None:
    """The loss was 0 at every step, as if every word had been understood."""
    rows = [
        {"num_samples": 101, "text": "one two"},
        {"num_samples": 50, "text": "zwei", "lang": "de"},
    ]
    sources: Any = [Rows(rows[:1]), Rows(rows[1:])]
    with pytest.raises(ValueError, match=r"at most 100 samples, .* got 'the shortest of 101'"):
        check_whole_clips(sources, 100)
    with pytest.raises(ValueError, match="got 'none with a text'"):
        check_whole_clips(sources[1:], 100)
    check_whole_clips(sources, 101)


def test_only_whole_english_clips_have_a_text() -> None:
    rows = [
        {"num_samples": 100, "text": "one two", "lang": "en"},
        {"num_samples": 101, "text": "too long", "lang": "en"},
        {"num_samples": 50, "text": "eins zwei", "lang": "de"},
        {"num_samples": 50, "text": "  "},
        {"num_samples": 50, "text": "no language", "lang": None},
        {"num_samples": 50},
    ]
    places = [CropPlace(0, clip, 0, 100, 100) for clip in range(len(rows))]
    expected = ["one two", None, None, None, "no language", None]
    assert whole_texts([Rows(rows)], places) == expected  # type: ignore[list-item]
