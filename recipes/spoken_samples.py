"""Texts of the valid split, spoken by a language model while it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec import HHCodec
from codec.audio import write_audio
from codec.devices import usable_device
from codec.files.json_lines import write_json_lines
from codec.model.mel import LogMel
from recipes.corpora.preparation import spread
from recipes.runner.config import Config
from recipes.runner.stages import stage_folder
from recipes.verifiers import make_verifiers
from slm import (
    GenerationSettings,
    SpeechLM,
    SpeechRequest,
    Synthesis,
    Synthesizer,
    TokenStore,
)
from slm.synthesis.voices import choose_voices
from slm.text.tokenizer import Tokenizer
from slm.training.curves import SpokenSample
from slm.training.lora import add_lora, merge_lora


class SampleSpeaker:
    """Speaks `train_slm.samples` texts at a step, the same ones with the same seeds at every step.

    A copy of the weights speaks: the model in training, its mode and its random state stay as they
    are. Sounds and items.jsonl go to `run/train_slm/samples/<step>`.

    Args:
        config: Of the run.
        codec: That decodes, in eval mode.
        tokenizer: Of the language model.
        stores: Token stores of train, for the voices of its speakers, and of valid, for texts.

    Raises:
        ValueError: No text to speak, a recogniser that cannot run here, or no such device.
    """

    def __init__(
        self,
        config: Config,
        codec: HHCodec,
        tokenizer: Tokenizer,
        stores: dict[str, TokenStore],
    ) -> None:
        self._config, self._codec, self._tokenizer = config, codec, tokenizer
        self._device = usable_device(config.train_slm.sample_device)
        self._requests = _requests(config, stores)
        self._mel = LogMel(codec.config.mel)
        name = config.train_slm.sample_recogniser
        found = make_verifiers([name] if name else [], config.evaluate.words)
        self._recogniser: Any = found.get(name) if name else None

    def __call__(self, lm: SpeechLM, step: int) -> list[SpokenSample]:
        """Speak with the model as it is."""
        settings = self._config.generate
        drawn = GenerationSettings(temperature=settings.temperature, top_p=settings.top_p)
        cpu, weights = torch.get_rng_state(), self._copy(lm)
        try:
            synthesizer = Synthesizer(self._codec, weights, self._tokenizer).to(self._device)
            # One attempt: a model that is learning runs away, which the samples are to show.
            made = synthesizer.synthesize(self._requests, settings=drawn, max_attempts=1)
        finally:
            torch.set_rng_state(cpu)
        samples = [
            self._sample(str(number), request, result)
            for number, (request, result) in enumerate(zip(self._requests, made, strict=True))
        ]
        self._save(step, samples)
        return samples

    def _copy(self, lm: SpeechLM) -> SpeechLM:
        """A model of the same weights, without what only training needs."""
        copied, lora = SpeechLM(lm.config), self._config.train_slm.lora
        if lora.rank:
            add_lora(copied, lora)
        copied.load_state_dict({name: each.cpu() for name, each in lm.state_dict().items()})
        if lora.rank:
            merge_lora(copied)
        return copied.eval()

    def _sample(self, name: str, request: SpeechRequest, result: Synthesis) -> SpokenSample:
        rate, waveform = result.sample_rate, np.asarray(result.waveform, dtype=np.float32)
        mel: Tensor | None = None
        if len(waveform) >= self._codec.config.mel.n_fft:
            # (1, T) to (M, F)
            mel = self._mel(torch.from_numpy(waveform)[None])[0]
        errors = None
        if self._recogniser is not None:
            errors = -float(self._recogniser([result], request.text)[0])
        return SpokenSample(name, request.text, waveform, rate, mel, errors)

    def _save(self, step: int, samples: Sequence[SpokenSample]) -> None:
        """Write the sounds, and their texts and word errors beside them."""
        folder = stage_folder(self._config, "train_slm") / "samples" / str(step)
        rows = []
        for each in samples:
            if len(each.waveform):
                write_audio(folder / f"{each.name}.flac", each.waveform, each.sample_rate)
            row = {"id": each.name, "text": each.text, "seconds": each.seconds}
            rows.append(row | {"word_error_rate": each.word_error_rate})
        write_json_lines(folder / "items.jsonl", rows)


def _requests(config: Config, stores: dict[str, TokenStore]) -> list[SpeechRequest]:
    """Texts of valid, spread over it, each with a voice of its speaker where there is one."""
    text = config.train_text
    voices = choose_voices(list(stores.values()), max_codes=config.train_slm.max_prompt_codes)
    rows = [
        row
        for row in stores["valid"].rows
        if row["text"].strip() and (text.kind != "phones" or row["lang"] in text.languages)
    ]
    if not rows:
        raise ValueError("train_slm.samples: expected texts in the valid split, got none; set it 0")
    return [
        SpeechRequest(
            row["text"],
            voice=voices.get(str(row["speaker"])),
            seed=config.seed + number,
            # Phones are English, however a manifest spells that.
            language="en" if text.kind == "phones" else row["lang"],
        )
        for number, row in enumerate(spread(rows, config.train_slm.samples))
    ]
