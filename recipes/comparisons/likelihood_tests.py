"""Likelihood tests of a trained codec and language model on pairs built from a corpus.

    python -m recipes.comparisons.likelihood_tests recipes/configs/likelihood_tests.yaml
        corpus=../shared/speech codec=CODEC_FOLDER lm=LM_FOLDER run=runs/likelihood

Builds pairs (run/pairs), scores every recording (run/scores.jsonl, kept when called again) and
writes run/likelihood.json and run/report.html. With `pairs=FILE` an existing manifest, such as
`hh-eval slm --write-pairs` makes of a published test, replaces the built pairs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from omegaconf import MISSING
from tqdm import tqdm

from codec.audio import read_audio
from codec.command_line import DONE, FAILED, exit_status
from codec.files import read_json, write_json
from codec.files.derived import digest_of, file_state
from codec.provenance import NO_COMMIT, git_commit
from eval.likelihood_tests.build import KINDS, PairSettings, Recording, build_pairs
from eval.likelihood_tests.judge import pair_accuracies
from eval.likelihood_tests.pairs import LikelihoodPair, read_pairs
from eval.likelihood_tests.score_file import read_scores, score_recordings
from eval.reporting.generation import likelihood_report
from eval.reporting.report import write_report
from eval.sound import resampled
from recipes.corpora.manifest import MANIFEST_NAME, read_manifest
from recipes.runner.cli import make_parser
from recipes.runner.config import load_settings
from recipes.runner.language_model import bind_models
from recipes.runner.run_folder import own_folder
from recipes.runner.stages import say
from slm.synthesis.synthesizer import Synthesizer


@dataclass
class LikelihoodConfig:
    """The pairs, and the models that score them."""

    run: str = MISSING
    # Folders of a codec and of a language model of its codes.
    codec: str = MISSING
    lm: str = MISSING
    # Folder that holds manifest.jsonl; not needed where `pairs` names a manifest.
    corpus: str | None = None
    split: str = "test"
    pairs: str | None = None
    kinds: list[str] = field(default_factory=lambda: list(KINDS))
    per_kind: int = 50
    # Seconds of each half of a recording, and of speech after the change that `local` sums over.
    half_seconds: float = 2.0
    local_seconds: float = 1.0
    seed: int = 0


class SpeechScorer:
    """`eval.likelihood_tests.score_file.Scorer` of a codec and a language model of its codes."""

    def __init__(self, synthesizer: Synthesizer) -> None:
        self.synthesizer = synthesizer

    def log_likelihoods(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """Compute the nats of each code of a waveform (T,), (L,); there is no prompt or text."""
        rate = self.synthesizer.codec.sample_rate
        samples = resampled(np.asarray(waveform, dtype=np.float32), sample_rate, rate)
        return self.synthesizer.score(np.ascontiguousarray(samples)).per_code.numpy()


def main(config: LikelihoodConfig) -> Path:
    """Build missing pairs, score missing recordings, compare; returns the run's folder.

    Raises:
        ValueError: Neither a corpus nor pairs, settings that changed, or a model and a codec that
            do not belong together.
    """
    run = Path(config.run)
    with own_folder(config, run, ("local_seconds",)):
        return _compare(config, run)


def _compare(config: LikelihoodConfig, run: Path) -> Path:
    """Do the work of `main` in a folder that no other process works in."""
    synthesizer = Synthesizer.from_pretrained(config.codec, config.lm)
    bind_models(run, synthesizer)
    pairs = wanted_pairs(config)
    # Kinds for which there were too few speakers or genders; a manifest given has its own.
    built = {pair.suite for pair in pairs}
    absent = [kind for kind in config.kinds if kind not in built and config.pairs is None]
    if absent:
        say("likelihood_tests", f"the recordings give no pair of {', '.join(absent)}")
    rate = synthesizer.codec.sample_rate
    # The number of recordings is known once the scores of earlier calls are read.
    with tqdm(total=0, desc="likelihood", unit="clip") as bar:

        def notify(done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        scores_path = score_recordings(
            pairs,
            SpeechScorer(synthesizer),
            run / "scores.jsonl",
            read=lambda path: (read_audio(path, rate), rate),
            notify=notify,
        )
    scores, reasons = read_scores(scores_path)
    result = pair_accuracies(pairs, scores, reasons, local_seconds=config.local_seconds)
    result["kinds_without_pairs"] = absent
    write_json(run / "likelihood.json", result)
    provenance = {
        "codec": synthesizer.codec.fingerprint,
        "language model": config.lm,
        "commit": git_commit() or NO_COMMIT,
    }
    write_report(likelihood_report(result, provenance=provenance), run / "report.html")
    return run


def wanted_pairs(config: LikelihoodConfig) -> list[LikelihoodPair]:
    """Read the pairs of the manifest named or those built before of the same, or build new ones.

    Raises:
        ValueError: Neither a manifest nor a corpus, or a corpus of which no pair can be built.
    """
    if config.pairs is not None:
        return read_pairs(Path(config.pairs))
    folder = Path(config.run) / "pairs"
    if config.corpus is None:
        raise ValueError("expected corpus=FOLDER or pairs=FILE, got neither")
    rows = read_manifest(Path(config.corpus) / MANIFEST_NAME)
    # Rows of no split belong to every one; a gender is needed for some kinds of pairs only.
    recordings = [
        Recording(row.audio, row.speaker, str(row.extra.get("gender") or ""))
        for row in rows
        if not row.split or row.split == config.split
    ]
    settings = PairSettings(
        config.kinds, config.per_kind, half_seconds=config.half_seconds, seed=config.seed
    )
    # What the pairs are built from: a corpus that was corrected gives others.
    states = [[file_state(r.path), r.speaker, r.gender] for r in recordings]
    note, origin = folder / "origin.json", digest_of(states, asdict(settings))
    if (folder / "pairs.jsonl").is_file() and note.is_file() and read_json(note) == origin:
        return read_pairs(folder / "pairs.jsonl")
    note.unlink(missing_ok=True)
    pairs = build_pairs(recordings, folder, settings)
    write_json(note, origin)
    return pairs


def command(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = make_parser(
        "python -m recipes.comparisons.likelihood_tests", __doc__ or "", schema=LikelihoodConfig
    )
    arguments = parser.parse_intermixed_args(argv)

    def work() -> int:
        run = main(load_settings(LikelihoodConfig, arguments.config, arguments.overrides))
        result = read_json(run / "likelihood.json")
        if arguments.json:
            print(json.dumps({key: value for key, value in result.items() if key != "margins"}))
        else:
            for suite, parts in result["suites"].items():
                figures = {rule: f"{100 * a['share']:.1f} %" for rule, a in parts["all"].items()}
                print(f"{suite:<24} {parts['all']['mean']['pairs']:>4} pairs  {figures}")
            print(run / "report.html")
        return FAILED if result["failures"] else DONE

    return exit_status(work, debug=arguments.debug)


if __name__ == "__main__":
    raise SystemExit(command())
