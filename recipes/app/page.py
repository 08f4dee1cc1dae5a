"""The page: a tab for each of `actions`, in Gradio."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from .actions import go_on, reconstruct, speak
from .fields import (
    DRAWN,
    FIELD_WIDTH,
    ONE,
    best_temperature,
    choice,
    mel_figures,
    player,
    recording_field,
    seed_and_temperature,
    sound,
    speed_field,
    speed_of,
    spoken,
    told,
    voices_of,
)
from .models import Models
from .uploads import Upload, UploadLimits, take

TITLE = "hh-slm"
CHARACTERS = 2000  # of a text, at most
EXAMPLE = "Good morning, and welcome. Every second of this voice is about twenty three numbers."
# Files of the page, uploads that nobody used among them, in seconds: how often they are looked
# through, and the age at which they go.
DELETE = (60, 600)


class Page:
    """The page of some models.

    Args:
        models: The visitor chooses among them.
        limits: Of uploads.
        folder: That Gradio keeps uploads and results in.
    """

    def __init__(self, models: Models, limits: UploadLimits, folder: Path) -> None:
        self._models, self._limits, self._folder = models, limits, folder
        self._lms, self._codecs = list(models.synthesizers), list(models.codecs)
        self._temperature = best_temperature(models.synthesizers[self._lms[0]])

    def build(self) -> gr.Blocks:
        """Lay out the tabs."""
        tabs = {
            "Codec": self._codec_tab,
            "Speak": self._speak_tab,
            "Continue": self._continue_tab,
            "Compare codecs": self._codecs_tab,
            "Compare models": self._lms_tab,
        }
        with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=DELETE) as blocks:
            gr.Markdown(
                f"# {TITLE}\nSpeech as tokens. Recordings of up to {self._limits.seconds:g} s are "
                "read once and deleted."
            )
            for name, tab in tabs.items():
                with gr.Tab(name):
                    tab()
        return blocks

    def _take(self, path: str | None, kept: Upload | None) -> Upload | None:
        return take(path, kept, self._limits, self._folder)

    def _codec_tab(self) -> None:
        source, kept = recording_field("Recording")
        codec = choice("Codec", self._codecs)
        start = gr.Button("Reconstruct", variant="primary")
        summary = gr.Markdown()
        with gr.Row():
            with gr.Column(min_width=300):
                first, first_mel = player("Recording, as it is coded"), gr.HTML()
            with gr.Column(min_width=300):
                second, second_mel = player("Reconstruction"), gr.HTML()
        codes = gr.Textbox(label="Codes", lines=3, max_lines=6, elem_classes="codes")
        file = gr.DownloadButton("Download .hhc", interactive=False)

        def run(path: str | None, kept: Upload | None, name: str) -> tuple[Any, ...]:
            with told():
                upload = self._take(path, kept)
                coded = reconstruct(self._models.codecs[name], upload)
                assert upload is not None
                return (
                    upload,
                    coded.summary(),
                    sound(coded.recording, coded.sample_rate),
                    sound(coded.reconstruction, coded.sample_rate),
                    *mel_figures(coded),
                    " ".join(map(str, coded.codes)),
                    gr.DownloadButton(value=self._file(upload, coded.stream), interactive=True),
                )

        shown = [kept, summary, first, second, first_mel, second_mel, codes, file]
        start.click(run, [source, kept, codec], shown, show_progress_on=summary, **ONE)

    def _file(self, upload: Upload, data: bytes) -> str:
        """A file to download, of a kilobyte, which goes with the folder."""
        path = Path(tempfile.mkdtemp(dir=self._folder)) / f"{upload.name}.hhc"
        path.write_bytes(data)
        return str(path)

    def _speak_tab(self) -> None:
        text = gr.Textbox(EXAMPLE, label="Text", lines=3, max_length=CHARACTERS)
        with gr.Row():
            lm = choice("Language model", self._lms)
            voices = voices_of(self._models, self._lms[0])
            voice = gr.Dropdown(label="Voice", min_width=FIELD_WIDTH, **voices)
        with gr.Accordion("A voice of your own", open=False):
            prompt, kept = recording_field("A few seconds of speech, in place of the voice above")
        with gr.Row():
            seed, temperature = seed_and_temperature(self._temperature)
            speed = speed_field(self._models.synthesizers[self._lms[0]])
        with gr.Row():
            start = gr.Button("Speak", variant="primary")
            stop = gr.Button("Cancel")
        state, made = gr.Markdown(), player("Speech")

        def run(
            text: str,
            name: str,
            voice: str,
            path: str | None,
            kept: Upload | None,
            seed: int,
            temperature: float,
            speed: float,
        ) -> Iterator[tuple[Any, ...]]:
            with told():
                upload = self._take(path, kept)
                yield upload, "Speaking ...", None
                synthesizer = self._models.synthesizers[name]
                states = speak(
                    synthesizer,
                    text,
                    voice=None if voice == DRAWN else voice,
                    prompt=upload,
                    seed=seed,
                    temperature=temperature,
                    speed=speed,
                    most_characters=CHARACTERS,
                )
                for each in states:
                    if each.done < each.total:
                        yield upload, f"{each.done} of {each.total} sentences.", gr.skip()
                    else:
                        yield upload, *spoken(each.speech, synthesizer.codec.frame_rate)

        inputs = [text, lm, voice, prompt, kept, seed, temperature, speed]
        event = start.click(run, inputs, [kept, state, made], show_progress_on=state, **ONE)
        stop.click(lambda: "Cancelled.", None, state, cancels=[event], queue=False)
        lm.change(
            lambda name: (
                gr.Dropdown(**voices_of(self._models, name)),
                best_temperature(self._models.synthesizers[name]),
                gr.Slider(**speed_of(self._models.synthesizers[name])),
            ),
            lm,
            [voice, temperature, speed],
            queue=False,
        )

    def _continue_tab(self) -> None:
        source, kept = recording_field("Recording")
        lm = choice("Language model", self._lms)
        with gr.Row():
            label = "Seconds to add, at most"
            seconds = gr.Slider(0.5, 20, 3, step=0.5, label=label, min_width=FIELD_WIDTH)
            seed, temperature = seed_and_temperature(0.8)
        start = gr.Button("Continue", variant="primary")
        state, made = gr.Markdown(), player("Recording, as it is coded, and continuation")

        def run(
            path: str | None,
            kept: Upload | None,
            name: str,
            seconds: float,
            seed: int,
            temperature: float,
        ) -> tuple[Any, ...]:
            with told():
                upload = self._take(path, kept)
                synthesizer = self._models.synthesizers[name]
                speech = go_on(synthesizer, upload, seconds, seed=seed, temperature=temperature)
                return upload, *spoken(speech, synthesizer.codec.frame_rate)

        inputs = [source, kept, lm, seconds, seed, temperature]
        start.click(run, inputs, [kept, state, made], show_progress_on=state, **ONE)

    def _codecs_tab(self) -> None:
        source, kept = recording_field("Recording")
        start, pair, sides = _sides("Compare", "Codec", self._codecs, with_picture=True)

        def run(path: str | None, kept: Upload | None, *names: str) -> tuple[Any, ...]:
            with told():
                upload = self._take(path, kept)
                shown: list[Any] = [upload]
                for name in names:
                    coded = reconstruct(self._models.codecs[name], upload)
                    made = sound(coded.reconstruction, coded.sample_rate)
                    shown += [coded.summary(), made, mel_figures(coded)[1]]
                return tuple(shown)

        start.click(run, [source, kept, *pair], [kept, *sides], show_progress_on=sides[0], **ONE)

    def _lms_tab(self) -> None:
        text = gr.Textbox(EXAMPLE, label="Text", lines=3, max_length=CHARACTERS)
        seed = gr.Number(0, label="Seed", precision=0, minimum=0)
        start, pair, sides = _sides("Compare", "Language model", self._lms, with_picture=False)

        def run(text: str, seed: int, *names: str) -> tuple[Any, ...]:
            with told():
                shown: list[Any] = []
                for name in names:
                    synthesizer = self._models.synthesizers[name]
                    voice = self._models.default_voices.get(name)
                    # Each in its own voice and at its own temperature, as `hh-slm tts` has them.
                    *_, last = speak(
                        synthesizer, text, voice=voice, seed=seed, most_characters=CHARACTERS
                    )
                    shown += spoken(last.speech, synthesizer.codec.frame_rate)
                return tuple(shown)

        start.click(run, [text, seed, *pair], sides, show_progress_on=sides[0], **ONE)


def _sides(
    button: str, label: str, names: list[str], *, with_picture: bool
) -> tuple[gr.Button, list[gr.Dropdown], list[Any]]:
    """Two choices, a button, and what is said of each, its sound and its picture side by side."""
    choices, shown = [], []
    if len(names) < 2:
        gr.Markdown(f"Name a second one at the start, by `--{'codec' if with_picture else 'lm'}`.")
    with gr.Row():
        for side, name in (("A", names[0]), ("B", names[-1])):
            choices.append(choice(f"{label} {side}", names, name))
    start = gr.Button(button, variant="primary")
    with gr.Row():
        for side in ("A", "B"):
            with gr.Column(min_width=300):
                shown += [gr.Markdown(), player(side)]
                shown += [gr.HTML()] if with_picture else []
    return start, choices, shown
