"""A model of aligned speech behind the same synthesizer and command line as any other."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codec import HHCodec
from codec.audio import read_audio, write_audio
from slm.cli.main import main
from slm.generation.config import GenerationSettings
from slm.model.code_init import init_codes_from_codebook
from slm.synthesis.long_text import speak_best, speak_long
from slm.synthesis.synthesizer import Synthesizer
from slm.synthesis.voices import save_voices
from slm.text.lexicon import Lexicon
from slm.text.phone_tokenizer import PhoneTokenizer
from slm.text.tokenizer import load_tokenizer
from tests.support.builders import new_lm

TEXT = "a lazy dog"
GREEDY = GenerationSettings(temperature=0)
Waveforms = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def folders(codec: HHCodec, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a codec and of a language model that reads phones, with one voice."""
    folder = tmp_path_factory.mktemp("aligned")
    tokenizer = PhoneTokenizer(
        Lexicon(
            {"a": ("AH",), "lazy": ("L", "EY", "Z", "IY"), "dog": ("D", "AO", "G")},
            {"<o>": ("AO",)},
        )
    )
    vectors = {"code_table": 8, "codebook_dim": codec.codebook.shape[1]}
    lm = new_lm(codec, tokenizer, max_prompt_codes=12, lookahead=1, **vectors)
    init_codes_from_codebook(lm, codec.codebook)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.mul_(3.0)
    lm.save_pretrained(folder / "lm", tokenizer)
    codec.save_pretrained(folder / "codec")
    save_voices(folder / "lm", {"ann": np.arange(10)}, codec.fingerprint)
    return folder / "codec", folder / "lm"


@pytest.fixture(scope="module")
def synthesizer(folders: tuple[Path, Path]) -> Synthesizer:
    return Synthesizer.from_pretrained(*folders)


def test_the_model_folder_alone_says_how_words_are_said(folders: tuple[Path, Path]) -> None:
    assert isinstance(load_tokenizer(folders[1]), PhoneTokenizer)
    assert not (folders[1] / "text.model").exists()
    with pytest.raises(ValueError, match="found no file"):
        load_tokenizer(folders[0])


def test_a_batch_gives_each_text_what_it_gets_alone(
    synthesizer: Synthesizer, make_waveform: Waveforms
) -> None:
    prompt = make_waveform(duration=0.4)
    together = synthesizer.tts_batch(
        [TEXT, "dog, dog", "lazy"],
        prompts=[None, prompt, None],
        voices=[None, None, "ann"],
        settings=GREEDY,
    )
    alone = [
        synthesizer.tts(TEXT, settings=GREEDY),
        synthesizer.tts("dog, dog", prompt=prompt, settings=GREEDY),
        synthesizer.tts("lazy", voice="ann", settings=GREEDY),
    ]
    for row, single in zip(together, alone, strict=True):
        np.testing.assert_array_equal(row.codes, single.codes)
        assert (row.stopped, row.truncated, row.rejected) == ("end", False, ())


def test_rows_that_wait_their_turn_say_the_same(synthesizer: Synthesizer) -> None:
    texts = [TEXT, "dog, dog", "lazy", "a dog", "lazy lazy dog"]
    together = synthesizer.tts_batch(texts, settings=GREEDY)
    few = synthesizer.tts_batch(texts, settings=GREEDY, max_rows=2)
    for one, other in zip(together, few, strict=True):
        np.testing.assert_array_equal(one.codes, other.codes)


def test_a_seed_speaks_the_same_again(synthesizer: Synthesizer) -> None:
    first, again, other = (synthesizer.tts(TEXT, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.codes, again.codes)
    assert first.codes.tolist() != other.codes.tolist()
    assert len(first.waveform) == len(first.codes) * synthesizer.codec.hop_length


def test_speech_is_drawn_as_suits_the_model_where_nothing_is_asked_for(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec, lm = folders
    shutil.copytree(lm, tmp_path / "lm")
    lines = (tmp_path / "lm/config.yaml").read_text().splitlines()
    own = {"temperature": "temperature: 0.0", "top_p": "top_p: 1.0"}
    text = "\n".join(own.get(line.split(":")[0], line) for line in lines)
    (tmp_path / "lm/config.yaml").write_text(text)
    greedy = Synthesizer.from_pretrained(codec, tmp_path / "lm")
    first, second = (greedy.tts(TEXT, seed=seed) for seed in (3, 4))
    np.testing.assert_array_equal(first.codes, second.codes)
    likelihoods = set()
    for options in (["--seed", "3"], ["--seed", "4"], ["--seed", "4", "--temperature", "5"]):
        given = ["--codec", str(codec), "--lm", str(tmp_path / "lm"), "--json", *options]
        assert main(["tts", TEXT, *given, "--out", str(tmp_path / "out.wav")]) == 0
        likelihoods.add(json.loads(capsys.readouterr().out)["log_likelihood"])
    assert len(likelihoods) == 2


def test_a_stream_is_one_attempt_of_speech(synthesizer: Synthesizer) -> None:
    chunks = list(synthesizer.stream(TEXT, seed=3))
    whole = synthesizer.tts(TEXT, seed=3)
    assert sum(map(len, chunks)) == len(whole.waveform)


def test_the_best_of_several_and_long_texts_are_spoken(synthesizer: Synthesizer) -> None:
    best = speak_best(synthesizer, TEXT, 3, voice="ann", seed=1)
    scores = best.ranking.scores["likelihood"]
    assert best.ranking.choice == int(np.argmax(scores))
    assert len({tuple(each.codes.tolist()) for each in best.candidates}) > 1
    assert len(speak_long(synthesizer, "A dog. Lazy! A lazy dog.", seed=1)) == 3


def test_what_such_a_model_cannot_know_is_refused(
    synthesizer: Synthesizer, make_waveform: Waveforms
) -> None:
    waveform = make_waveform(duration=0.5)
    for ask in (
        lambda: synthesizer.score(waveform, text=TEXT),
        lambda: synthesizer.continue_speech(waveform, 1.0, text=TEXT),
    ):
        with pytest.raises(ValueError, match="aligned speech"):
            ask()
    assert synthesizer.score(waveform).num_codes == 12
    assert synthesizer.continue_speech(waveform, 1.0).num_given_codes == 11
    with pytest.raises(ValueError, match="expected a voice of"):
        synthesizer.tts(TEXT, voice="bob")
    with pytest.raises(ValueError, match="max_attempts >= 1"):
        synthesizer.tts(TEXT, max_attempts=0)


def test_the_command_line_is_the_same(
    folders: tuple[Path, Path],
    tmp_path: Path,
    make_waveform: Waveforms,
    capsys: pytest.CaptureFixture[str],
) -> None:
    codec, lm = map(str, folders)
    prompt = tmp_path / "prompt.wav"
    write_audio(prompt, make_waveform(duration=0.5), 24_000)
    out = tmp_path / "out.wav"
    command = ["tts", "A lazy, zorbly dog!", "--codec", codec, "--lm", lm, "--out", str(out)]
    assert main([*command, "--prompt", str(prompt), "--best-of", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert out.is_file()
    assert report["stopped"] == "end"
    assert main([*command, "--guidance", "2", "--prompt-guidance", "1.5"]) == 0
    assert main([*command, "--interleaved"]) == 2
    assert "a model of interleaved text and speech" in capsys.readouterr().err


def test_a_transcript_that_such_a_model_does_not_read_is_told_once(
    folders: tuple[Path, Path],
    tmp_path: Path,
    make_waveform: Waveforms,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_audio(tmp_path / "p.wav", make_waveform(duration=0.5), 24_000)
    (tmp_path / "meta.lst").write_text("a|said one|p.wav|A dog.\nb|said two|p.wav|A lazy dog.\n")
    models = ["--codec", str(folders[0]), "--lm", str(folders[1])]
    one = ["A dog.", "--prompt", str(tmp_path / "p.wav"), "--prompt-text", "said one"]
    many = ["--file", str(tmp_path / "meta.lst")]
    for text, out, more in ((one, "a.wav", ""), (many, "out", " and 1 more")):
        assert main(["tts", *text, *models, "--out", str(tmp_path / out)]) == 0
        told = [line for line in capsys.readouterr().err.splitlines() if "transcript" in line]
        assert len(told) == 1
        assert told[0].endswith(f"'said one'{more}")
    assert main(["tts", *one[:3], *models, "--out", str(tmp_path / "b.wav")]) == 0
    assert "transcript" not in capsys.readouterr().err


def test_progress_of_a_long_text_counts_its_sentences(
    synthesizer: Synthesizer, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    text, seen = "A dog. Lazy! A lazy dog.", list[tuple[int, int]]()
    quiet = speak_long(synthesizer, text, seed=1)
    parts = speak_long(synthesizer, text, seed=1, on_progress=lambda *each: seen.append(each))
    assert [each.codes.tolist() for each in parts] == [each.codes.tolist() for each in quiet]
    assert seen == sorted(seen)
    assert {(0, 3), (1, 3)} <= set(seen)
    assert seen[-1] == (3, 3)


def test_a_long_text_shows_its_progress_on_a_terminal(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    models = ["--codec", str(folders[0]), "--lm", str(folders[1])]
    out = str(tmp_path / "out.wav")
    assert main(["tts", "A dog. Lazy!", "--long", *models, "--out", out]) == 0
    assert "| 2/2 [" in terminal.getvalue()


def test_every_way_of_speaking_takes_the_speed(
    synthesizer: Synthesizer, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = synthesizer.tts(TEXT, voice="ann", speed=0.5, settings=GREEDY)
    plain = synthesizer.tts(TEXT, voice="ann", settings=GREEDY)
    assert len(whole.codes) > 1.2 * len(plain.codes)
    options = {"voice": "ann", "speed": 0.5, "settings": GREEDY}
    np.testing.assert_array_equal(speak_long(synthesizer, TEXT, **options)[0].codes, whole.codes)
    best = speak_best(synthesizer, TEXT, 1, **options).best
    np.testing.assert_array_equal(best.codes, whole.codes)
    streamed = np.concatenate(list(synthesizer.stream(TEXT, **options)))
    assert len(streamed) == len(whole.waveform)
    call = ["--codec", str(folders[0]), "--lm", str(folders[1]), "--temperature", "0"]
    target = tmp_path / "slow.wav"
    assert main(["tts", TEXT, "--voice", "ann", "--speed", "0.5", "-o", str(target), *call]) == 0
    rows = [{"id": "slow", "text": TEXT, "voice": "ann", "speed": 0.5}, {"text": TEXT}]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "spoken"
    words = ["tts", "--file", str(tmp_path / "jobs.jsonl"), "--voice", "ann", "-o", str(out)]
    assert main([*words, *call]) == 0
    slow, fast = (read_audio(out / name, 24000) for name in ("slow.wav", "00002.wav"))
    np.testing.assert_array_equal(slow, read_audio(target, 24000))
    assert len(slow) > 1.2 * len(fast)


@pytest.mark.parametrize("speed", [0, 0.2, 5, float("nan"), float("inf"), True, "1"])
def test_a_speed_that_is_none_is_refused(synthesizer: Synthesizer, speed: Any) -> None:
    with pytest.raises(ValueError, match=r"expected a speed in \[0\.25, 4\]"):
        synthesizer.tts(TEXT, speed=speed)
