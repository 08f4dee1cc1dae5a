"""Fields of the page that several of its tabs have, and what is shown in them."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr
import numpy as np

from codec.audio.pcm import as_integers
from codec.error_text import message_of
from slm import Synthesis, Synthesizer
from slm.generation.config import GenerationSettings
from slm.synthesis.requests import SPEEDS

from .actions import Coded, described
from .models import Models

DRAWN = "drawn by the model"
# Pixels that a field takes at least: on a telephone each has a row of its own.
FIELD_WIDTH = 240
# One generation at a time, whatever button it was asked by.
ONE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "models"}
CSS = """
.mel img { width: 100%; display: block; }
.mel figcaption { font-size: 0.85em; opacity: 0.8; text-align: center; }
.codes textarea { font-family: monospace; }
footer { display: none !important; }
"""


@contextmanager
def told() -> Iterator[None]:
    """Show on the page what was wrong."""
    try:
        yield
    except (ValueError, OSError) as error:
        message = html.escape(message_of(error))
        raise gr.Error(message, duration=15, print_exception=False) from error


def recording_field(label: str) -> tuple[gr.Audio, gr.State]:
    """A recording from the microphone or a file, and the memory of it once its file is gone."""
    field = gr.Audio(label=label, sources=["upload", "microphone"], type="filepath", buttons=[])
    return field, gr.State(None)


def choice(label: str, names: Sequence[str], value: str | None = None) -> gr.Dropdown:
    """One of some names, the first unless another is given."""
    return gr.Dropdown(
        list(names),
        value=value or names[0],
        label=label,
        interactive=True,
        min_width=FIELD_WIDTH,
    )


def player(label: str) -> gr.Audio:
    """Sound that was made."""
    return gr.Audio(
        label=label, interactive=False, type="numpy", format="wav", buttons=["download"]
    )


def seed_and_temperature(value: float) -> tuple[gr.Number, gr.Slider]:
    """Make the fields of how speech is drawn."""
    seed = gr.Number(
        0,
        label="Seed",
        info="The same seed speaks the same.",
        precision=0,
        minimum=0,
        min_width=FIELD_WIDTH,
    )
    temperature = gr.Slider(
        0,
        1.5,
        value,
        step=0.05,
        label="Temperature",
        info="0: the likeliest.",
        min_width=FIELD_WIDTH,
    )
    return seed, temperature


def speed_of(synthesizer: Synthesizer) -> dict[str, Any]:
    """Value and state of the speed of a model: 1, and only one that draws durations has others."""
    return {"value": 1, "interactive": synthesizer.lm.config.is_aligned}


def speed_field(synthesizer: Synthesizer) -> gr.Slider:
    """How fast a model is to speak."""
    return gr.Slider(
        *SPEEDS,
        step=0.05,
        label="Speed",
        info="1: as fast as the model speaks by itself.",
        min_width=FIELD_WIDTH,
        **speed_of(synthesizer),
    )


def best_temperature(synthesizer: Synthesizer) -> float:
    """The temperature at which a model says texts best."""
    return GenerationSettings.for_model(synthesizer.lm.config).temperature


def voices_of(models: Models, name: str) -> dict[str, Any]:
    """Choices and value of a field with the voices of a language model."""
    names = [*models.synthesizers[name].voices, DRAWN]
    return {"choices": names, "value": models.default_voices.get(name) or names[0]}


def sound(waveform: np.ndarray, sample_rate: int) -> tuple[int, np.ndarray]:
    """A waveform (T,) as players take it."""
    return sample_rate, as_integers(waveform)


def spoken(speech: Synthesis, frame_rate: float) -> tuple[str, tuple[int, np.ndarray]]:
    """Make the fields of a note on speech, and of its sound."""
    return described(speech, frame_rate), sound(speech.waveform, speech.sample_rate)


def mel_figures(coded: Coded) -> tuple[str, str]:
    """The mels of a recording and its reconstruction as HTML."""
    first, second = coded.pictures()
    return _figure(first, "Mel of the recording"), _figure(second, "Mel of the reconstruction")


def _figure(uri: str, caption: str) -> str:
    return (
        f'<figure class="mel"><img src="{uri}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
