"""The README's Python block runs, and its commands name things that are there."""

import re
from pathlib import Path

import torch

from codec import CodecConfig, HHCodec
from codec.audio import write_audio
from slm import SpeechLM, SpeechLMConfig, TextTokenizer, Vocabulary

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def save_models(folder: Path) -> None:
    codec = HHCodec(CodecConfig.preset("tiny")).eval()
    codec.quantizer.initialize(torch.randn(400, 8), seed=0)
    codec.save_pretrained(folder / "train_codec/model")
    tokenizer = TextTokenizer.train(
        ["The whole way, in one voice.", "Another voice, the same way."], folder, vocab_size=24
    )
    vocabulary = Vocabulary(
        text_size=tokenizer.vocab_size,
        codebook_size=codec.codebook_size,
        text_fingerprint=tokenizer.fingerprint,
    )
    config = SpeechLMConfig.preset(
        "tiny",
        vocabulary=vocabulary.to_dict(),
        codec_fingerprint=codec.fingerprint,
        frame_rate=codec.frame_rate,
        codes_per_character=1.0,
    )
    SpeechLM(config).save_pretrained(folder / "train_slm/model", tokenizer)


def test_the_python_block_runs(tmp_path, monkeypatch, make_waveform):
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 1
    save_models(tmp_path / "runs/mine")
    write_audio(tmp_path / "in.wav", make_waveform(1.0))
    write_audio(tmp_path / "voice.wav", make_waveform(1.5, seed=3))
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    exec(compile(blocks[0], "README.md", "exec"), namespace)
    assert (tmp_path / "out.wav").stat().st_size > 1000
    decoded = namespace["decoded"]
    assert isinstance(decoded, torch.Tensor)
    assert decoded.shape == (1, 24_000)


def test_linked_files_and_named_settings_exist():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
    for path in re.findall(r"recipes/configs/\w+\.yaml", README):
        assert (ROOT / path).exists(), path


def test_every_room_is_named():
    """A room that is made or renamed moves in the README too."""
    tree = README.split("## Layout")[1].split("```")[1]
    for package in ("codec", "slm", "eval", "recipes", "benchmarks"):
        section = re.split(r"\n(?=\S)", tree.split(f"\n{package}/")[1])[0]
        named = set(re.findall(r"^  (\w+)/", section, flags=re.MULTILINE))
        rooms = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
        assert rooms <= named, f"{package}: not in the layout: {sorted(rooms - named)}"
