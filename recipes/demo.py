"""Demo of the shipped models: speaks, reconstructs, continues, measures, and writes a report.

    python -m recipes.demo --text "Good morning. How are you?" --recording my.wav

Writes FLAC files, figures.json and report.html into runs/demo. Recordings are those given, else
two clips of ../shared/speech where that is, else synthetic speech of eSpeak NG.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codec.audio import write_audio
from codec.command_line import DONE, exit_status, whole_number
from codec.files import write_json
from codec.files.names import check_items, item_path
from codec.provenance import provenance
from recipes.release.demo_recordings import find_recordings
from recipes.release.demo_report import Demo, measure, write_demo_report
from recipes.runner.cli import plain_parser
from slm import SpeechRequest, Synthesis, Synthesizer
from slm.text.sentences import sentences

CODEC, LM = "hh-mini-24k-v2", "hh-mini-slm-v2"
NAMED_VOICES = 2
TEXT = (
    "Good morning, and welcome. This voice was never recorded saying these words. "
    "Every second of it is twenty four small numbers."
)
PROMPT_SECONDS, CONTINUED_SECONDS = 3.0, 3.0
# A continuation shorter than this is drawn anew, so many times in all.
LEAST_CONTINUED_SECONDS, MOST_CONTINUATIONS = 1.0, 5
ORIGINAL, RECONSTRUCTED = "_original.flac", "_reconstructed.flac"


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the whole demo; returns its figures.

    Raises:
        ValueError: A model or a recording is not there or cannot be used, two of them have the
            same name, or a text has no words.
    """
    demo, folder = Demo(), Path(arguments.out)
    with demo.timed("load the models"):
        synthesizer = Synthesizer.from_pretrained(arguments.codec, arguments.lm)
    rate = synthesizer.codec.sample_rate
    demo.recordings, origin = find_recordings(arguments.recording, arguments.corpus, rate)
    check_items((each.id for each in demo.recordings), RECONSTRUCTED)
    speak(demo, synthesizer, arguments.text, arguments.voice, arguments.seed)
    reconstruct(demo, synthesizer)
    continue_first(demo, synthesizer, arguments.seed)
    save(demo, folder, rate)
    with demo.timed("measure"):
        scores = measure(demo, folder / "scores", rate)
    origins = {
        "codec": f"{arguments.codec} {synthesizer.codec.fingerprint}",
        "language model": f"{arguments.lm}, {synthesizer.lm.num_parameters:,} parameters",
        "voices": ", ".join(dict.fromkeys(demo.voices)),
        "recordings": origin,
    }
    origins = provenance("python -m recipes.demo") | origins
    report = write_demo_report(demo, scores, folder, rate, origins)
    figures = {
        "report": str(report),
        "recordings": origin,
        "seconds": {part: round(work, 2) for part, (work, _) in demo.seconds.items()},
        "figures": scores.headline(),
        "skipped": scores.skipped,
    }
    write_json(folder / "figures.json", figures)
    return figures


def speak(demo: Demo, synthesizer: Synthesizer, text: str, voice: str | None, seed: int) -> None:
    """Speak every sentence of a text, in one batch.

    Without a wish for a voice, two of the model's speak in turn with the speaker of the last
    recording, whom the model knows from that alone.
    """
    demo.texts = sentences(text)
    named = [voice] if voice else list(synthesizer.voices)[:NAMED_VOICES]
    prompts = [] if voice else [each for each in demo.recordings[-1:] if not each.is_synthetic]
    speakers = [(name, None) for name in named]
    speakers += [(f"the speaker of {each.id}", each.waveform) for each in prompts]
    speakers = speakers or [("drawn by the model", None)]
    requests = []
    for index, each in enumerate(demo.texts):
        name, prompt = speakers[index % len(speakers)]
        own = name if prompt is None and named else None
        requests.append(SpeechRequest(each, prompt, voice=own, seed=seed + index))
        demo.voices.append(name)
    with demo.timed("speak"):
        demo.spoken = synthesizer.synthesize(requests)
    demo.made("speak", sum(made.duration for made in demo.spoken))


def reconstruct(demo: Demo, synthesizer: Synthesizer) -> None:
    """Encode and decode every recording."""
    with demo.timed("reconstruct"):
        for recording in demo.recordings:
            waveform = synthesizer.decode(synthesizer.encode(recording.waveform))
            # Whole codes are decoded; the recording may end within the last one.
            demo.reconstructed.append(waveform[: len(recording.waveform)])
    seconds = sum(len(each) for each in demo.reconstructed) / synthesizer.codec.sample_rate
    demo.made("reconstruct", seconds)


def continue_first(demo: Demo, synthesizer: Synthesizer, seed: int) -> None:
    """Continue the beginning of the first recording, at most half of it.

    The model may end the speech where the beginning could be all of it: what is shorter than a
    second is drawn anew, and the longest is kept.
    """
    whole, rate = demo.recordings[0].waveform, synthesizer.codec.sample_rate
    # At least half of the recording is left out, so that the true continuation can be compared.
    demo.prompt = whole[: min(round(PROMPT_SECONDS * rate), max(1, len(whole) // 2))]
    with demo.timed("continue"):
        made, least = list[Synthesis](), len(demo.prompt) / rate + LEAST_CONTINUED_SECONDS
        while len(made) < MOST_CONTINUATIONS and not any(each.duration >= least for each in made):
            draw = seed + len(made)
            made.append(synthesizer.continue_speech(demo.prompt, CONTINUED_SECONDS, seed=draw))
    demo.continued, demo.continuations = max(made, key=lambda each: each.duration), len(made)
    seconds = sum(each.duration - len(demo.prompt) / rate for each in made)
    demo.made("continue", seconds)


def save(demo: Demo, folder: Path, rate: int) -> None:
    """Write everything that was made as FLAC, beside the recordings."""
    for number, made in enumerate(demo.spoken, start=1):
        made.save(folder / f"spoken_{number}.flac")
    for recording, waveform in zip(demo.recordings, demo.reconstructed, strict=True):
        for made, suffix in ((recording.waveform, ORIGINAL), (waveform, RECONSTRUCTED)):
            write_audio(item_path(folder, recording.id, suffix), made, rate)
    if demo.continued is not None:
        demo.continued.save(folder / "continued.flac")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status."""
    arguments = _parser().parse_args(argv)

    def work() -> int:
        print_figures(run(arguments), as_json=arguments.json)
        return DONE

    return exit_status(work, debug=arguments.debug)


def print_figures(figures: dict[str, Any], *, as_json: bool) -> None:
    """Print what `run` returns, as a table or as one JSON object."""
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))
        return
    print(figures["recordings"])
    for name, value in figures["figures"].items():
        print(f"  {name:<44} {value:.4g}")
    for part, seconds in figures["seconds"].items():
        print(f"  {part + ', seconds':<44} {seconds:.1f}")
    for name, reasons in figures["skipped"].items():
        print(f"  not measured: {name}: {'; '.join(reasons)}")
    print(f"Look and listen: {figures['report']}")


def _parser() -> argparse.ArgumentParser:
    parser = plain_parser("python -m recipes.demo", "The shipped models at work, in one report.")
    parser.add_argument("--text", default=TEXT, help="sentences to speak")
    parser.add_argument(
        "--recording", type=Path, nargs="+", default=[], help="to reconstruct; one is continued"
    )
    parser.add_argument(
        "--corpus", type=Path, default=Path("../shared/speech"), help="corpus to take one from"
    )
    parser.add_argument("--voice", help="named voice; default: two of the model and a recording's")
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, help="the same seed gives the same speech"
    )
    parser.add_argument("--codec", default=CODEC, help="folder, bundled name or hub")
    parser.add_argument("--lm", default=LM, help="likewise")
    parser.add_argument("--out", default="runs/demo", help="folder to write to")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
