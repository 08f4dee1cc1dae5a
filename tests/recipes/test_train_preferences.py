"""From texts to a model that has learnt preferences, by the model's own likelihood as verifier."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codec.audio.io import write_audio
from codec.files.json_lines import read_json_lines
from recipes.preference_config import PreferencesConfig
from recipes.preference_pairs import make_pairs, pair_of, widest_pair
from recipes.runner.config import ConfigError, load_settings
from recipes.train_preferences import main, requests_of, run
from slm import SpeechLM, Synthesizer, TextTokenizer
from slm.synthesis.voices import default_voice, load_voices, save_voices
from slm.text.lexicon import Lexicon
from slm.text.phone_tokenizer import PhoneTokenizer
from slm.text.tokenizer import Tokenizer, load_tokenizer
from tests.support.builders import SENTENCE, new_codec, new_lm

CONFIG = Path(__file__).resolve().parents[2] / "recipes/configs/preferences.yaml"
WORDS = {"a": ("AH",), "lazy": ("L", "EY", "Z", "IY"), "dog": ("D", "AO", "G")}


@pytest.fixture(params=["pieces", "phones"])
def given(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Settings of a run of tiny models on six texts."""
    codec = new_codec().eval()
    codec.save_pretrained(tmp_path / "codec")
    is_aligned = request.param == "phones"
    tokenizer: Tokenizer = PhoneTokenizer(Lexicon(WORDS))
    if not is_aligned:
        tokenizer = TextTokenizer.train([SENTENCE] * 2, tmp_path / "text")
    sizes = {"lookahead": 1} if is_aligned else {"codes_per_character": 0.6}
    lm = new_lm(codec, tokenizer, max_seq_len=200, max_prompt_codes=6, dropout=0.1, **sizes)
    lm.save_pretrained(tmp_path / "lm", tokenizer)
    voices = {"ann": np.arange(10), "bob": np.arange(10)[::-1]}
    save_voices(tmp_path / "lm", voices, codec.fingerprint, "bob")
    texts = ["a lazy dog", "a dog", "lazy dog", "lazy lazy dog", "dog", "a lazy lazy dog"]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    small = ["batch_size=2", "accumulate=1", "steps=2", "warmup_steps=1", "learning_rate=1e-3"]
    folders = [f"{name}={tmp_path / name}" for name in ("codec", "lm", "run")]
    rules = ["verifiers=[likelihood]", "least_gap=0", "held_out=0.2", "candidates=3"]
    return [*folders, *small, *rules, f"texts={tmp_path / 'texts.txt'}"]


def test_a_model_learns_from_pairs_of_its_own_speech_and_stays_whole(
    given: list[str], tmp_path: Path
) -> None:
    assert main([str(CONFIG), *given]) == 0
    rows = read_json_lines(tmp_path / "run/pairs.jsonl")
    assert len(rows) == 6
    for row in rows:
        assert max(row["scores"]["likelihood"]) > min(row["scores"]["likelihood"])
        assert row["chosen"] != row["rejected"]
    assert {tuple(row["voice"]) for row in rows} == {(0, 1, 2, 3, 4, 5), (9, 8, 7, 6, 5, 4)}
    before, after = (SpeechLM.from_pretrained(tmp_path / name) for name in ("lm", "run/model"))
    assert after.config == before.config
    assert not torch.equal(after.head.weight, before.head.weight)
    fingerprint = after.config.codec_fingerprint
    assert set(load_voices(tmp_path / "run/model", fingerprint)) == {"ann", "bob"}
    assert default_voice(tmp_path / "run/model") == "bob"
    assert load_tokenizer(tmp_path / "run/model").fingerprint == after.vocabulary.text_fingerprint
    metrics = read_json_lines(tmp_path / "run/training/metrics.jsonl")
    assert metrics[-1]["valid_nats_chosen"] > 0


def test_documents_of_a_pair_are_what_was_said_in_the_voice(
    given: list[str], tmp_path: Path
) -> None:
    run(load_settings(PreferencesConfig, CONFIG, given))
    synthesizer = Synthesizer.from_pretrained(tmp_path / "codec", tmp_path / "lm")
    vocabulary = synthesizer.lm.vocabulary
    for row in read_json_lines(tmp_path / "run/pairs.jsonl"):
        for side, document in zip(("chosen", "rejected"), pair_of(synthesizer, row), strict=True):
            codes = document.tokens[document.tokens >= vocabulary.code_start]
            said = [*row["voice"], *row[side]["codes"]]
            assert vocabulary.token_to_code(codes).tolist() == said


@pytest.mark.parametrize("given", ["phones"], indirect=True)
def test_durations_are_compared_where_asked_for_alone(given: list[str], tmp_path: Path) -> None:
    run(load_settings(PreferencesConfig, CONFIG, given))
    synthesizer = Synthesizer.from_pretrained(tmp_path / "codec", tmp_path / "lm")
    row = read_json_lines(tmp_path / "run/pairs.jsonl")[0]
    for side in ("chosen", "rejected"):
        both, codes = (
            getattr(pair_of(synthesizer, row, durations=durations), side)
            for durations in (True, False)
        )
        np.testing.assert_array_equal(both.tokens, codes.tokens)
        compared = codes.tokens[codes.loss_weights > 0]
        assert len(compared) == len(row[side]["codes"])
        assert (compared >= synthesizer.lm.vocabulary.code_start).all()
        # One duration a phone beside.
        assert (both.loss_weights > 0).sum() >= len(compared) + len(row[side]["counts"])


def test_a_run_that_was_cut_off_speaks_the_texts_that_are_left(
    given: list[str], tmp_path: Path
) -> None:
    config = load_settings(PreferencesConfig, CONFIG, given)
    run(config)
    path = tmp_path / "run/pairs.jsonl"
    whole = path.read_text()
    lines = whole.split("\n")
    marked = json.loads(lines[0]) | {"mark": 1}
    path.write_text("\n".join([json.dumps(marked), *lines[1:3], '{"id": "torn']))
    run(config)
    again = read_json_lines(path)
    assert again[0].pop("mark") == 1
    assert again == [json.loads(line) for line in lines if line]


@pytest.mark.parametrize("given", ["phones"], indirect=True)
def test_a_text_whose_speed_has_changed_is_spoken_anew(given: list[str], tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"

    synthesizer = Synthesizer.from_pretrained(tmp_path / "codec", tmp_path / "lm")
    config = load_settings(PreferencesConfig, CONFIG, [*given, f"texts={texts}"])

    def rows_at(*speeds: float) -> list[dict[str, Any]]:
        rows = [{"id": str(n), "text": "a dog", "speed": speed} for n, speed in enumerate(speeds)]
        texts.write_text("\n".join(map(json.dumps, rows)))
        requests = requests_of(config, synthesizer)
        return make_pairs(config, synthesizer, requests, tmp_path / "pairs.jsonl")

    before, after = rows_at(1, 1), rows_at(1, 0.5)
    assert after[0] == before[0]
    assert after[1]["speed"] == 0.5
    assert len(after[1]["chosen"]["codes"]) > len(before[1]["chosen"]["codes"])


@pytest.mark.parametrize("given", ["phones"], indirect=True)
def test_texts_with_prompts_are_spoken_in_the_voices_of_the_prompts(
    given: list[str], tmp_path: Path, make_waveform: Callable[[float], np.ndarray]
) -> None:
    synthesizer = Synthesizer.from_pretrained(tmp_path / "codec", tmp_path / "lm")
    waveforms = [0.5 * make_waveform(seconds) for seconds in (1.0, 0.7)]
    lines = []
    for number, waveform in enumerate(waveforms * 3):
        write_audio(tmp_path / f"{number}.wav", waveform, synthesizer.codec.sample_rate)
        lines.append(f"utt{number}|a dog|{number}.wav|{'lazy ' * number}dog")
    (tmp_path / "meta.lst").write_text("\n".join(lines))
    config = load_settings(PreferencesConfig, CONFIG, [*given, f"texts={tmp_path / 'meta.lst'}"])
    run(config)
    rows = read_json_lines(tmp_path / "run/pairs.jsonl")
    assert [row["id"] for row in rows] == [f"utt{number}" for number in range(6)]
    for number, row in enumerate(rows):
        prompt = synthesizer.encode_prompt(tmp_path / f"{number}.wav")
        np.testing.assert_array_equal(row["voice"], prompt)

    (tmp_path / "4.wav").unlink()
    other = ["run=" + str(tmp_path / "other"), f"texts={tmp_path / 'meta.lst'}"]
    with pytest.raises(ValueError, match=r"meta.lst: 'utt4': .*4.wav"):
        run(load_settings(PreferencesConfig, CONFIG, [*given, *other]))
    assert not (tmp_path / "other/pairs.jsonl").exists()


@pytest.mark.parametrize("given", ["phones"], indirect=True)
def test_texts_that_make_no_pairs_are_told(given: list[str]) -> None:
    config = load_settings(PreferencesConfig, CONFIG, [*given, "least_gap=1e6"])
    with pytest.raises(ValueError, match=r"at least 2 pairs to train on, got 0 of 6 texts"):
        run(config)


def test_the_two_that_differ_most_are_a_pair_within_the_tolerance_of_their_lengths() -> None:
    keys = [(1.0, -0.5), (1.0, -0.2), (1.0, 0.0), (1.0, -0.4)]
    lengths = [100, 104, 130, 127]
    assert widest_pair(keys, lengths) == (2, 0)
    assert widest_pair(keys, lengths, 0.04) == (2, 3)
    assert widest_pair(keys, [100, 102, 130, 150], 0.04) == (1, 0)
    assert widest_pair(keys, [100, 150, 200, 300], 0.05) == (0, 0)
    # What ran away is worse than any that ended, whatever the words.
    assert widest_pair([(0.0, 0.0), (1.0, -1.0)], [10, 10]) == (1, 0)
    assert widest_pair([(1.0, 0.0), (1.0, 0.0)], [0, 0], 0.0) == (0, 0)


@pytest.mark.parametrize("given", ["phones"], indirect=True)
def test_pairs_are_of_like_length_where_asked_for(given: list[str], tmp_path: Path) -> None:
    run(load_settings(PreferencesConfig, CONFIG, [*given, "length_tolerance=0.1", "candidates=6"]))
    rows = [row for row in read_json_lines(tmp_path / "run/pairs.jsonl") if row["chosen"]]
    assert rows
    for row in rows:
        short, long = sorted(len(row[side]["codes"]) for side in ("chosen", "rejected"))
        assert long <= 1.1 * short


@pytest.mark.parametrize("given", ["phones"], indirect=True)
def test_texts_that_have_changed_are_spoken_anew(given: list[str], tmp_path: Path) -> None:
    """Pairs of the texts of before were trained on, those of removed ones too."""
    synthesizer = Synthesizer.from_pretrained(tmp_path / "codec", tmp_path / "lm")
    config, path = load_settings(PreferencesConfig, CONFIG, given), tmp_path / "pairs.jsonl"
    requests = dict(list(requests_of(config, synthesizer).items())[:3])
    before = make_pairs(config, synthesizer, requests, path)
    first, second, third = requests
    del requests[third]
    requests[first] = replace(requests[first], text="a lazy lazy lazy dog")
    now = make_pairs(config, synthesizer, requests, path)
    assert {row["id"]: row["text"] for row in now} == {
        second: before[1]["text"],
        first: "a lazy lazy lazy dog",
    }
    assert now[0] == before[1]
    assert read_json_lines(path) == now


@pytest.mark.parametrize("given", ["pieces"], indirect=True)
def test_a_text_of_another_language_is_trained_as_it_was_spoken(
    given: list[str], tmp_path: Path
) -> None:
    synthesizer = Synthesizer.from_pretrained(tmp_path / "codec", tmp_path / "lm")

    def tokens(text: str, language: str) -> list[int]:
        said = {"codes": [1, 2, 3], "counts": [], "truncated": False}
        row = {"text": text, "voice": None, "chosen": said, "rejected": said}
        return pair_of(synthesizer, {**row, "language": language}).chosen.tokens.tolist()

    assert tokens("dog 5", "en") == tokens("dog five", "en") != tokens("dog 5", "de")


@pytest.mark.parametrize("given", ["phones"], indirect=True)
def test_a_dry_run_names_what_is_missing_and_writes_nothing(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(CONFIG), *given, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["status"], plan["texts"], plan["spoken"]) == ("to do", 6, 0)
    wrong = [f"texts={tmp_path / 'gone.txt'}", "lm=gone", "verifiers=[words_whisper]"]
    assert main([str(CONFIG), *given, *wrong, "--dry-run"]) == 2
    printed = capsys.readouterr().out
    for part in ("- texts: ", "- lm: expected", "- verifiers: ", "# nothing was started"):
        assert part in printed
    assert not (tmp_path / "run").exists()


def test_words_of_a_recogniser_need_the_verifier_of_words(given: list[str]) -> None:
    with pytest.raises(ConfigError, match="verifier_words: expected none without"):
        load_settings(PreferencesConfig, CONFIG, [*given, "verifier_words=[one,two]"])


@pytest.mark.parametrize("given", ["phones"], indirect=True)
def test_pairs_of_another_model_of_the_same_name_are_not_gone_on_with(
    given: list[str], tmp_path: Path
) -> None:
    config = load_settings(PreferencesConfig, CONFIG, [*given, "least_gap=1e6"])
    with pytest.raises(ValueError, match="at least 2 pairs"):
        run(config)
    codec = new_codec().eval()
    tokenizer = PhoneTokenizer(Lexicon(WORDS))
    lm = new_lm(codec, tokenizer, max_seq_len=200, max_prompt_codes=6, lookahead=1)
    with torch.no_grad():
        next(lm.parameters()).mul_(2)
    lm.save_pretrained(tmp_path / "lm", tokenizer)
    with pytest.raises(ValueError, match=r"expected what models .* make"):
        run(config)
