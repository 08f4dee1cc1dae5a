from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from codec import CodecConfig, HHCodec
from codec.model.vocoder import Vocoder
from recipes.release.export import main
from slm import SpeechLM, SpeechLMConfig, Synthesizer, TextTokenizer, Vocabulary
from slm.synthesis.voices import load_voices, save_voices
from tests.support.codecs import tiny_codec
from tests.support.refusing_disks import full_disk, needs_limits, read_only


@pytest.fixture
def codec_folder(tmp_path: Path) -> Path:
    tiny_codec().save_pretrained(tmp_path / "codec")
    return tmp_path / "codec"


@pytest.fixture
def lm_folder(tmp_path: Path, codec_folder: Path) -> Path:
    """A language model that names its codec by the fingerprint of all of it."""
    codec = HHCodec.from_pretrained(codec_folder)
    tokenizer = TextTokenizer.train(
        ["a small dog", "two small dogs"], tmp_path / "text", vocab_size=16
    )
    vocabulary = Vocabulary(tokenizer.vocab_size, codec.codebook_size, tokenizer.fingerprint)
    config = SpeechLMConfig.preset(
        "tiny",
        vocabulary=vocabulary.to_dict(),
        codec_fingerprint=codec.fingerprint,
        frame_rate=codec.frame_rate,
        codes_per_character=0.6,
    )
    SpeechLM(config).save_pretrained(tmp_path / "lm", tokenizer)
    voices = {"ann": np.arange(10), "bob": np.arange(20)}
    save_voices(tmp_path / "lm", voices, codec.fingerprint)
    return tmp_path / "lm"


def test_a_codec_ships_in_half_the_bytes_and_rounding_again_keeps_it(
    codec_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = []
    for source, target in ((codec_folder, "small"), (tmp_path / "small", "again/small")):
        assert main(["codec", str(source), str(tmp_path / target)]) == 0
        reports.append(json.loads(capsys.readouterr().out))
    weights = [folder / "model.safetensors" for folder in (codec_folder, tmp_path / "small")]
    assert weights[1].stat().st_size < 0.6 * weights[0].stat().st_size
    assert reports[0]["fingerprint"] == reports[1]["fingerprint"]
    loaded = HHCodec.from_pretrained(tmp_path / "small")
    assert loaded.fingerprint == reports[0]["fingerprint"]
    assert loaded.config.name == "small"
    assert all(p.dtype == torch.float32 for p in loaded.parameters())


def test_a_codec_in_the_place_of_another_speaks_its_codes(
    codec_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["codec", str(codec_folder), str(tmp_path / "mini")]) == 0
    first = HHCodec.from_pretrained(tmp_path / "mini", fold=False)
    other = HHCodec.from_pretrained(tmp_path / "mini", fold=False)
    other.replace_vocoder(Vocoder(other.config.mel, other.config.vocoder))
    other.save_pretrained(tmp_path / "new")
    command = ["codec", str(tmp_path / "new"), str(tmp_path / "mini"), "--same-codes-as"]
    capsys.readouterr()
    assert main([*command, str(tmp_path / "mini")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert first.fingerprint in report["code_fingerprints"]
    loaded = HHCodec.from_pretrained(tmp_path / "mini")
    assert loaded.code_fingerprint == first.code_fingerprint
    assert first.fingerprint in loaded.code_fingerprints
    assert main([*command, str(codec_folder)]) == 2  # whose weights were never rounded
    assert "whose codes are others" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_language_model_ships_with_its_voice_for_the_codes_of_its_codec(
    codec_folder: Path, lm_folder: Path, tmp_path: Path, precision: str
) -> None:
    target = tmp_path / "hh-small"
    target.mkdir()
    (target / "README.md").write_text("card")
    (target / "lexicon.xz").write_text("of an earlier model")
    command = ["slm", str(lm_folder), str(target), "--codec", str(codec_folder)]
    assert main([*command, "--voice", "ann", "--precision", precision]) == 0
    codec = HHCodec.from_pretrained(codec_folder)
    lm = SpeechLM.from_pretrained(target)
    assert lm.config.codec_fingerprint == codec.code_fingerprint
    assert list(load_voices(target, codec.code_fingerprint)) == ["ann"]
    names = {"README.md", "config.yaml", "model.safetensors", "text.model", "voices.json"}
    assert {path.name for path in target.iterdir()} == names
    with safe_open(target / "model.safetensors", "pt") as file:
        kinds = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118 - no mapping
    assert (torch.int8 in kinds) == (precision == "int8")
    assert len(Synthesizer.from_pretrained(codec_folder, target).tts("a dog", voice="ann").codes)


def test_what_does_not_belong_together_is_refused(
    codec_folder: Path, lm_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["slm", str(lm_folder), str(tmp_path / "out"), "--codec", str(codec_folder)]
    assert main([*command, "--voice", "eve"]) == 2
    assert "voices: expected some of ['ann', 'bob'], got ['eve']" in capsys.readouterr().err
    HHCodec(CodecConfig.preset("tiny")).save_pretrained(codec_folder)
    assert main(command) == 2
    assert "expected a language model of codes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_refined_codebook_is_nearer_to_the_latents_and_ships(
    codec_folder: Path,
    tmp_path: Path,
    make_corpus: Callable[..., tuple[Path, list[dict[str, Any]]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus, _ = make_corpus(counts=(6, 2, 2))
    arguments = ["codec", str(codec_folder), str(tmp_path / "refined")]
    refine = ["--refine", str(corpus / "manifest.jsonl"), "--refine-split", "train"]
    assert main([*arguments, *refine, "--refine-clips", "6", "--kmeans-steps", "3"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["relative_error"] < report["relative_error_before"]
    before, after = (HHCodec.from_pretrained(tmp_path / name) for name in ("codec", "refined"))
    assert after.fingerprint == report["fingerprint"]
    assert after.code_fingerprint != before.code_fingerprint
    assert not torch.equal(after.codebook, before.codebook)
    decoder = before.decoder.state_dict()
    for name, value in after.decoder.state_dict().items():
        assert torch.equal(value, decoder[name].half().float()), name


def test_codes_cannot_both_stay_and_be_refined(
    codec_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["codec", str(codec_folder), str(tmp_path / "refined"), "--refine", str(tmp_path)]
    assert main([*arguments, "--same-codes-as", str(codec_folder)]) != 0
    assert "same_codes_as: expected none" in capsys.readouterr().err


def test_an_export_that_is_cut_off_leaves_no_voices_beside_other_weights(
    codec_folder: Path, lm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whatever file it ends, what can be loaded is of one export."""
    target = tmp_path / "hh-small"
    command = ["slm", str(lm_folder), str(target), "--codec", str(codec_folder)]
    assert main([*command, "--voice", "ann"]) == 0
    first = {path.name: path.read_bytes() for path in target.iterdir()}
    lm = SpeechLM.from_pretrained(lm_folder, fold=False)
    with torch.no_grad():
        lm.embedding.weight.mul_(2)
    lm.save_pretrained(lm_folder)

    replace, outcomes = os.replace, []
    for moves in range(30):
        left = iter(range(moves))

        def stopped(source: Path, place: Path, left: Iterator[int] = left) -> None:
            if Path(place).parent == target and next(left, None) is None:
                raise KeyboardInterrupt
            replace(source, place)

        monkeypatch.setattr("codec.files.atomic.os.replace", stopped)
        status = main([*command, "--voice", "bob"])
        monkeypatch.setattr("codec.files.atomic.os.replace", replace)
        assert not [path for path in target.iterdir() if path.name.startswith(".")]
        if (target / "model.safetensors").is_file():
            weights = (target / "model.safetensors").read_bytes()
            is_old = weights == first["model.safetensors"]
            voices = load_voices(target, SpeechLM.from_pretrained(target).config.codec_fingerprint)
            assert list(voices) == (["ann"] if is_old else ["bob"])
        else:
            with pytest.raises(ValueError, match="without it"):
                SpeechLM.from_pretrained(target)
        outcomes.append(status)
        if status == 0:
            break
    assert outcomes[-1] == 0
    assert set(outcomes[:-1]) == {130}
    assert len(outcomes) > 3


@needs_limits
@pytest.mark.parametrize("kind", ["codec", "slm"])
def test_a_disk_that_refuses_leaves_the_earlier_model(
    kind: str,
    codec_folder: Path,
    lm_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "shipped"
    source = codec_folder if kind == "codec" else lm_folder
    options = [] if kind == "codec" else ["--codec", str(codec_folder), "--voice", "ann"]
    command = [kind, str(source), str(target), *options]
    assert main(command) == 0
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    other = [*command[:-1], "bob"] if kind == "slm" else command
    capsys.readouterr()
    for disk, expected in (
        (full_disk(2000), "too large"),
        (read_only(target), "Permission denied"),
    ):
        with disk:
            assert main(other) == 1
        told = capsys.readouterr().err
        assert expected in told
        assert "Traceback" not in told
        assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert main(other) == 0
    assert ({path.name: path.read_bytes() for path in target.iterdir()} == before) == (
        kind == "codec"
    )
