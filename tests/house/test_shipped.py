"""What comes with the packages: small, without any audio, and there without a network."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from codec import HHCodec
from codec.cli.options import DEFAULT_CODEC as CODEC_OF_CODES
from recipes.runner.config import load_config
from slm import SpeechLM
from slm.cli.options import DEFAULT_CODEC, DEFAULT_LM
from slm.synthesis.models import SHIPPED_CODECS, shipped_codec_of
from slm.synthesis.voices import load_voices
from slm.text.tokenizer import load_tokenizer
from tests.support.sources import ROOT

CODEC, LM = "codec/pretrained/hh-mini-24k", "slm/pretrained/hh-mini-slm"
NEXT_CODEC, NEXT_LM = "codec/pretrained/hh-mini-24k-v2", "slm/pretrained/hh-mini-slm-v2"
FOLDERS = [ROOT / each for each in (CODEC, LM, NEXT_CODEC, NEXT_LM)]
SOUNDS = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".aiff", ".au", ".spx", ".c2"}
# How files of sound begin, whatever they are called.
BEGINNINGS = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd", b"caff")

# Of half a second of a synthetic voice.
FIRST_CODES = {
    "hh-mini-24k": [5056, 1785, 5891, 1583, 1631, 1583, 598, 6519, 11, 1592, 1586, 2845],
    "hh-mini-24k-v2": [3297, 5858, 377, 5827, 3115, 377, 1099, 1099, 5858, 215, 7549, 5744],
}


def own_files() -> list[Path]:
    """Every file of the repository, those not yet added included."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in listed.splitlines() if (path := ROOT / name).is_file()]


@pytest.mark.parametrize(
    ("folders", "most"),
    [((CODEC, LM), 40_000_000), ((NEXT_CODEC,), 45_000_000), ((NEXT_LM,), 40_000_000)],
    ids=str,
)
def test_models_stay_small(folders: tuple[str, ...], most: int) -> None:
    files = [path for each in folders for path in (ROOT / each).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= most


def test_the_second_codec_is_loaded_by_name_with_codes_of_its_own() -> None:
    codec, first = HHCodec.from_pretrained("hh-mini-24k-v2"), HHCodec.from_pretrained("hh-mini-24k")
    assert codec.code_fingerprint not in first.code_fingerprints
    waveform = 0.1 * torch.randn(1, 8 * 1024, generator=torch.Generator().manual_seed(0))
    codes, lengths = codec.encode(waveform)
    decoded, _ = codec.decode(codes, lengths, torch.tensor([waveform.shape[1]]))
    assert codes.shape == (1, 8)
    assert decoded.shape == waveform.shape


@pytest.mark.parametrize(("name", "codes"), FIRST_CODES.items())
def test_a_shipped_codec_codes_a_clip_as_when_it_was_released(
    name: str, codes: list[int], make_waveform: Callable[..., np.ndarray]
) -> None:
    assert HHCodec.from_pretrained(name).encode(make_waveform(0.5))[0].tolist() == [codes]


def test_no_recording_is_in_the_repository() -> None:
    files = own_files()
    assert [str(path) for path in files if path.suffix.lower() in SOUNDS] == []
    begun = []
    for path in files:
        with path.open("rb") as file:
            if file.read(4).startswith(BEGINNINGS):
                begun.append(str(path))
    assert begun == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_model_has_its_card_and_pictures_that_exist(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    pictures = sorted(folder.glob("*.png"))
    assert sum(path.stat().st_size for path in pictures) < 400_000
    assert [path.name for path in pictures if f"]({path.name})" not in card] == []
    assert "CC BY 4.0" in card or "Creative Commons Attribution 4.0" in card


def test_the_shipped_codec_still_speaks_what_was_stored_for_its_first_release() -> None:
    """Tokens of then carry the fingerprint of the whole codec; its vocoder may change."""
    codec = HHCodec.from_pretrained("hh-mini-24k")
    assert "648bddcc4cecf0c9" in codec.code_fingerprints
    assert codec.code_fingerprint == "943b47e472360fab"


def test_the_shipped_language_model_draws_as_its_card_was_measured() -> None:
    config = SpeechLM.from_pretrained("hh-mini-slm").config
    recipe = load_config(ROOT / "recipes/configs/slm_mini.yaml")
    measured = recipe.generate.temperature, recipe.generate.top_p
    assert (config.temperature, config.top_p) == measured == (0.4, 0.8)
    assert (config.duration_temperature, config.duration_top_p) == (1.0, 1.0)
    card = (ROOT / LM / "README.md").read_text(encoding="utf-8")
    assert "as shipped, one draw, temperature 0.4, top-p 0.8" in card


@pytest.mark.parametrize(
    ("codec_folder", "lm_folder"), [(CODEC, LM), (NEXT_CODEC, NEXT_LM)], ids=["first", "second"]
)
def test_a_shipped_language_model_belongs_to_its_shipped_codec(
    codec_folder: str, lm_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    codec = HHCodec.from_pretrained(Path(codec_folder).name)
    lm = SpeechLM.from_pretrained(Path(lm_folder).name)
    assert lm.config.codec_fingerprint == codec.code_fingerprint
    assert load_tokenizer(ROOT / lm_folder).fingerprint == lm.vocabulary.text_fingerprint
    assert load_voices(ROOT / lm_folder, codec.code_fingerprint)


def test_the_defaults_of_the_commands_are_one_pair() -> None:
    assert DEFAULT_CODEC == CODEC_OF_CODES == Path(NEXT_CODEC).name
    assert Path(NEXT_LM).name == DEFAULT_LM


def test_a_language_model_finds_the_shipped_codec_of_its_codes() -> None:
    folders = (ROOT / CODEC).parent.iterdir()
    assert sorted(SHIPPED_CODECS) == sorted(path.name for path in folders if path.is_dir())
    for name, names_of_codes in SHIPPED_CODECS.items():
        assert names_of_codes == HHCodec.from_pretrained(name).code_fingerprints
    assert shipped_codec_of(ROOT / LM) == Path(CODEC).name
    assert shipped_codec_of(ROOT / NEXT_LM) == Path(NEXT_CODEC).name
