from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import recipes.evaluate
import recipes.generate
from codec import HHCodec
from recipes.generate import continued_sampling, described, synthesize
from recipes.runner.config import Config, ConfigError, load_config
from recipes.runner.schema import GenerateConfig
from recipes.runner.stages import run_stages
from recipes.speech_requests import Request, check_names
from slm import SpeechRequest, Synthesis, Synthesizer, TextTokenizer
from tests.support.builders import new_lm


class Speaker:
    """Speaks with one code more for every request of a batch, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], list[int]]] = []
        self.speeds: set[float] = set()

    def waveform(self, prompt: np.ndarray) -> np.ndarray:
        """A recording of the voice, which is samples already."""
        return prompt

    def synthesize(self, requests: list[SpeechRequest], **options: Any) -> list[Synthesis]:
        seeds = [request.seed for request in requests]
        self.speeds |= {request.speed for request in requests}
        self.asked.append(([request.text for request in requests], seeds))
        return [
            Synthesis(np.zeros(8, np.float32), np.arange(n + 1), 8, 0, False, -float(n), seed)
            for n, seed in enumerate(seeds)
        ]


def request(text: str, seed: int) -> Request:
    return Request({"id": text, "text": text}, 0, np.zeros(8, np.float32), "other", True, seed)


def test_one_of_each_is_drawn_in_one_batch_unless_asked_for_more() -> None:
    speaker = Speaker()
    made = synthesize(speaker, [request("a", 5), request("b", 6)], GenerateConfig(), {})  # type: ignore[arg-type]
    assert speaker.asked == [(["a", "b"], [5, 6])]
    assert [len(each) for each in made] == [1, 1]


def test_the_best_of_several_is_the_one_with_the_best_score() -> None:
    speaker = Speaker()
    verifiers = {"length": lambda candidates, text, prompt: [len(c.codes) for c in candidates]}
    settings = GenerateConfig(best_of=3)
    ((best, first),) = synthesize(speaker, [request("a", 5)], settings, verifiers)  # type: ignore[arg-type]
    ((texts, seeds),) = speaker.asked
    assert texts == ["a"] * 3
    assert (seeds[0], len(set(seeds))) == (5, 3)
    assert (len(best.codes), len(first.codes)) == (3, 1)


@pytest.mark.parametrize("verifiers", [{}, {"length": lambda candidates, *_: [0] * 2}])
def test_texts_are_spoken_at_the_speed_of_the_settings(verifiers: dict[str, Any]) -> None:
    speaker = Speaker()
    settings = GenerateConfig(best_of=2, speed=0.9)
    synthesize(speaker, [request("a", 5)], settings, verifiers)  # type: ignore[arg-type]
    assert speaker.speeds == {0.9}


def test_a_record_holds_the_codes_that_were_made() -> None:
    result = Synthesis(np.zeros(32, np.float32), np.array([7, 8, 9]), 8, 1, True, -1.0, 0)
    about = described(result, 23.4)
    assert (about["codes"], about["frame_rate"], about["truncated"]) == ([8, 9], 23.4, True)


@pytest.mark.parametrize(
    "wrong",
    ["generate.best_of=0", "generate.verifiers=[mos]", "generate.split=train", "generate.speed=9"],
)
def test_settings_that_cannot_be_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong.split("=", maxsplit=1)[0]):
        load_config("recipes/configs/smoke.yaml", ["corpus=x", "run=y", wrong])


def test_continuations_are_drawn_as_texts_are_unless_asked_for_otherwise() -> None:
    alike = continued_sampling(GenerateConfig(temperature=0.4, top_p=0.8))
    assert (alike.temperature, alike.top_p) == (0.4, 0.8)
    other = continued_sampling(GenerateConfig(temperature=0.4, continue_temperature=0.9))
    assert other.temperature == 0.9


def test_a_speed_of_a_model_without_durations_is_refused_before_any_stage() -> None:
    given = ["corpus=x", "run=y", "generate.speed=0.9"]
    assert load_config("recipes/configs/slm_mini.yaml", given).generate.speed == 0.9
    with pytest.raises(ConfigError, match=r"generate.speed: expected 1 with train_text.kind"):
        load_config("recipes/configs/smoke.yaml", [*given, "train_text.kind=pieces"])


@pytest.mark.parametrize("names", [("../../a", "b"), ("a", "A"), ("a", "recordings/a")])
def test_texts_whose_files_would_meet_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"an id|ids that name a file each"):
        check_names([request(name, 0) for name in names])
    check_names([request("a", 0), request("b", 0)])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("stage", ["generate", "evaluate"])
def test_a_device_that_is_not_here_is_refused_before_any_work(stage: str, tmp_path: Path) -> None:
    setting = f"{stage}.device=cuda:7"
    config = load_config("recipes/configs/smoke.yaml", ["corpus=x", f"run={tmp_path}", setting])
    with pytest.raises(ValueError, match=r"device 'cuda:7' cannot be used: [^\n]+$"):
        {"generate": recipes.generate.main, "evaluate": recipes.evaluate.main}[stage](config)
    assert not list(tmp_path.iterdir())


def test_a_recording_that_was_cut_is_decoded_again(
    prepared: Callable[..., Config], tmp_path: Path
) -> None:
    """Where reconstruction goes on it keeps files that are whole, and no others."""
    config = prepared("train_text.vocab_size=24", "generate.reconstruct=2")
    run_stages(config, ["encode_corpus", "train_text"])
    run = Path(config.run)
    codec = HHCodec.from_pretrained(run / "train_codec" / "model")
    tokenizer = TextTokenizer.load(run / "train_text")
    synthesizer = Synthesizer(codec, new_lm(codec, tokenizer), tokenizer)
    folder = tmp_path / "reconstructed"
    assert recipes.generate.reconstruct(config, synthesizer, "valid", folder) == 2
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    cut, kept = sorted(folder.glob("*.flac"))
    os.truncate(cut, 300)
    stamp = kept.stat().st_mtime_ns
    recipes.generate.reconstruct(config, synthesizer, "valid", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    assert kept.stat().st_mtime_ns == stamp
