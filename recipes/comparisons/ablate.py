"""Variants of one codec, trained for the same budget and measured on the same clips.

    python -m recipes.comparisons.ablate recipes/configs/ablations corpus=../shared/speech
        run=runs/ablations

Every YAML file of the folder is a variant, a few lines laid over `base.yaml`, which is the variant
`full`. Each gets its own run folder, run/<variant>; the prepared corpus is shared. What is done is
skipped, what was cut off is resumed. Ends with run/ablation.md and run/ablation.json, a table for
each split, or group of voices, that was measured.

A full run at the paper's size needs LibriTTS (corpus=libritts), a base.yaml over hh_24khz.yaml with
the published vocoder and HuBERT that it names, HH_WEIGHT_UTMOS22_STRONG, and a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from codec.command_line import DONE, exit_status, name_list, whole_number
from codec.files.names import check_items, is_hidden
from recipes.adaptability.corpus import share_corpus
from recipes.runner.cli import make_parser
from recipes.runner.config import Config, load_config, load_settings
from recipes.runner.stages import StageError, run_stage, say, stage_folder

from .ablate_measure import (
    METRICS,
    WHERE_READY,
    clip_sets,
    measure,
    measured_metrics,
    measurements,
)
from .ablate_table import FULL, PROGRAM, Variant, write_table
from .clip_sets import ClipGroups

BASE = "base.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Train and measure the variants; returns the exit status."""
    parser = make_parser(PROGRAM, __doc__ or "", schema=Config)
    parser.add_argument(
        "--only", type=name_list, help="names of variants, by commas (default: all)"
    )
    parser.add_argument("--split", default="valid", choices=("valid", "test"))
    parser.add_argument(
        "--clips", type=whole_number(1), default=None, help="clips measured (default: all)"
    )
    parser.add_argument(
        "--metrics",
        help=f"of hh-eval doctor's list (default: {','.join(METRICS)}; {','.join(WHERE_READY)} "
        "where ready)",
    )
    parser.add_argument(
        "--groups",
        metavar="YAML",
        help="measure the clips of these groups, a table each, and not the split of the prepared "
        "corpus: recipes/configs/voice_groups.yaml",
    )
    parser.add_argument(
        "--mel-words",
        action="store_true",
        help="also the words that Whisper reads in decoded log-mels, without the vocoder",
    )
    arguments = parser.parse_intermixed_args(argv)

    def work() -> int:
        variants = read_variants(Path(arguments.config), arguments.overrides)
        wanted = list(variants) if arguments.only is None else arguments.only
        unknown = [name for name in wanted if name not in variants]
        if unknown:
            raise StageError(f"--only: expected some of {list(variants)}, got {unknown}")
        measured_metrics(arguments)  # a wrong name is refused before any training
        groups = load_settings(ClipGroups, arguments.groups).groups if arguments.groups else {}
        chosen = (arguments.split, arguments.clips)
        # Before any training: a group without clips is refused here.
        sets = clip_sets(variants[FULL], groups, *chosen) if groups else []
        for name in wanted:
            train(variants[name], variants[FULL])
            for clips in sets or clip_sets(variants[name], groups, *chosen):
                measure(variants[name], clips, arguments)
        run = Path(variants[FULL].config.run).parent
        found = (row for each in variants.values() for row in measurements(each, sets))
        measured = dict(found)
        table = write_table(list(variants.values()), measured, run, argv)
        table.print(as_json=arguments.json)
        return DONE

    return exit_status(work, debug=arguments.debug)


def read_variants(folder: Path, overrides: Sequence[str]) -> dict[str, Variant]:
    """Read the variants of a folder by name, `full` first.

    Raises:
        ValueError: No base.yaml, no run folder, two variants of one name, or settings that the
            schema refuses.
    """
    found = sorted(folder.glob("*.yaml"))
    paths = [folder / BASE, *(p for p in found if p.name != BASE and not is_hidden(p.name))]
    if not paths[0].is_file():
        raise StageError(f"{folder}: expected a folder with {BASE} and one YAML file a variant")
    check_items([FULL, *(path.stem for path in paths[1:])])
    run = Path(load_config(paths[0], overrides).run)
    variants = {}
    for path in paths:
        name = FULL if path.name == BASE else path.stem
        config = load_config(path, [*overrides, f"run={run / name}"])
        lines = path.read_text(encoding="utf-8-sig").split("\n")
        comment = [line[1:].strip() for line in lines if line.startswith("#")]
        variants[name] = Variant(name, " ".join(comment), config)
    return variants


def train(variant: Variant, full: Variant) -> None:
    """Prepare the corpus once, then train the variant."""
    shared = stage_folder(full.config, "prepare")
    if not (shared / "done.json").is_file():
        run_stage(full.config, "prepare")
    share_corpus(variant.config, shared)
    say("ablate", f"{variant.name}: {variant.note}")
    run_stage(variant.config, "train_codec")


if __name__ == "__main__":
    raise SystemExit(main())
