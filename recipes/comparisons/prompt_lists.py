"""A corpus -> a list of texts to speak, each in the voice of a recording: what seed_tts takes.

    python -m recipes.comparisons.prompt_lists CORPUS runs/ann.jsonl --split valid --speaker ann
    python -m recipes.comparisons.prompt_lists CORPUS runs/strangers.jsonl --split test
        --one-a-speaker --texts OTHER_CORPUS

Every text of a split is spoken in the voice of another recording of its speaker, with the
speaker's own recording of the text as reference. With `--one-a-speaker` each speaker is a prompt
once, and speaks a text that the speaker never read. JSON lines of id, text, prompt, reference and
speaker, which `hh-slm tts --file` and `hh-eval tts` read alike; the same corpus and seed give the
same list. A name that ends in .lst gives a meta.lst of seed-tts-eval, which names no speakers.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from codec.checks import require
from codec.command_line import DONE, exit_status, number, print_report, whole_number
from codec.files import write_text
from codec.files.json_lines import write_json_lines
from eval.metrics.normalizers import normalize_text
from recipes.corpora.manifest import MANIFEST_NAME, SPLITS, CorpusRow, read_manifest
from recipes.runner.cli import plain_parser

PROGRAM = "python -m recipes.comparisons.prompt_lists"


def same_speaker_list(
    rows: Sequence[CorpusRow], *, min_prompt: float = 0.0, seed: int = 0
) -> list[dict[str, str]]:
    """Pair every text with another recording of its speaker.

    Args:
        rows: Of one split.
        min_prompt: Least duration of a prompt, s.
        seed: Of the choice among the recordings that may be a prompt.

    Returns:
        Rows of the list in order; speakers with a single recording have none.
    """
    draw = np.random.default_rng(seed)
    prompts = defaultdict(list)
    for row in rows:
        if row.duration >= min_prompt:
            prompts[row.speaker].append(row)
    listed = []
    for row in rows:
        others = [each for each in prompts[row.speaker] if each.id != row.id]
        if normalize_text(row.text) and others:
            prompt = others[int(draw.integers(len(others)))]
            listed.append(_record(row.id, row.text, prompt, row))
    return listed


def other_text_list(
    rows: Sequence[CorpusRow],
    texts: Sequence[CorpusRow],
    *,
    min_prompt: float = 0.0,
    seed: int = 0,
) -> list[dict[str, str]]:
    """Give each speaker one recording as prompt and one text that the speaker never read.

    Args:
        rows: Of one split; the prompts.
        texts: Whose transcripts are spoken, each once.
        min_prompt: Least duration of a prompt, s.
        seed: Of the choice of recordings and texts.

    Raises:
        ValueError: Fewer texts than speakers.
    """
    draw = np.random.default_rng(seed)
    prompts = defaultdict(list)
    for row in rows:
        if row.duration >= min_prompt:
            prompts[row.speaker].append(row)
    shuffled = [texts[place] for place in draw.permutation(len(texts))]
    left = [each for each in shuffled if normalize_text(each.text)]
    listed = []
    for speaker, own in prompts.items():
        heard = {row.text for row in rows if row.speaker == speaker}
        text = next((each for each in left if each.text not in heard), None)
        if text is None:
            raise ValueError(
                f"expected a text for each of {len(prompts)} speakers, got {len(listed)} that fit"
            )
        left.remove(text)
        prompt = own[int(draw.integers(len(own)))]
        listed.append(_record(f"{prompt.id}-{text.id}", text.text, prompt))
    return listed


def _record(
    name: str, text: str, prompt: CorpusRow, reference: CorpusRow | None = None
) -> dict[str, str]:
    """A row of the list; paths are absolute, so that it may lie anywhere."""
    record = {"id": name, "text": text, "prompt": str(prompt.audio.absolute())}
    if reference is not None:
        record["reference"] = str(reference.audio.absolute())
    return record | {"speaker": prompt.speaker}


def meta_lines(listed: Sequence[dict[str, str]], said: Mapping[str, str]) -> list[str]:
    """Lines utt|prompt_text|prompt_wav|text[|reference_wav] of a list, as seed-tts-eval has them.

    Args:
        listed: Rows of the list.
        said: Text of every prompt by its path.

    Raises:
        ValueError: A field with a "|" or the end of a line in it.
    """
    lines = []
    for row in listed:
        fields = [row["id"], said[row["prompt"]], row["prompt"], row["text"]]
        fields += [row["reference"]] if "reference" in row else []
        fields = [" ".join(field.split()) for field in fields]
        has_bar = [field for field in fields if "|" in field]
        require(not has_bar, f"{row['id']}: fields of a meta.lst", "none with a |", has_bar)
        lines.append("|".join(fields))
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Write the list; returns the exit status."""
    parser = plain_parser(PROGRAM, __doc__)
    parser.add_argument("corpus", type=Path, help="folder with a manifest.jsonl")
    parser.add_argument("list", type=Path, help="the list to write, .jsonl or .lst")
    parser.add_argument("--split", choices=SPLITS, default="valid", help="of the prompts")
    parser.add_argument("--lang", default="en", help="language of prompts and texts")
    parser.add_argument("--speaker", action="append", help="of these alone; may be repeated")
    parser.add_argument("--count", type=whole_number(1), help="rows, at most")
    parser.add_argument(
        "--min-prompt", type=number(0), default=1.0, help="least seconds of a prompt"
    )
    parser.add_argument(
        "--one-a-speaker", action="store_true", help="one prompt a speaker, with another's text"
    )
    parser.add_argument("--texts", type=Path, help="corpus of the texts of --one-a-speaker")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the choices")
    asked = parser.parse_args(argv)
    return exit_status(lambda: _write(asked), debug=asked.debug)


def _write(asked: argparse.Namespace) -> int:
    is_meta = asked.list.suffix == ".lst"
    known = is_meta or asked.list.suffix == ".jsonl"
    require(known, "list", "a file .jsonl or .lst", str(asked.list))
    is_other = asked.texts is not None and not asked.one_a_speaker
    require(not is_other, "--texts", "--one-a-speaker beside it", str(asked.texts))
    rows = _rows(asked.corpus, asked.split, asked.lang, asked.speaker)
    options = {"min_prompt": asked.min_prompt, "seed": asked.seed}
    if asked.one_a_speaker:
        texts = _rows(asked.texts, asked.split, asked.lang) if asked.texts else rows
        listed = other_text_list(rows, texts, **options)
    else:
        listed = same_speaker_list(rows, **options)
    listed = listed[: asked.count]
    require(bool(listed), "corpus", "texts with a prompt each", f"none in {asked.corpus}")
    if is_meta:
        said = {str(row.audio.absolute()): row.text for row in rows}
        write_text(asked.list, "".join(f"{line}\n" for line in meta_lines(listed, said)))
    else:
        write_json_lines(asked.list, listed)
    speakers = len({each["speaker"] for each in listed})
    report = {"list": str(asked.list), "texts": len(listed), "speakers": speakers}
    print_report(report, as_json=asked.json)
    return DONE


def _rows(
    corpus: Path, split: str, lang: str, speakers: Sequence[str] | None = None
) -> list[CorpusRow]:
    """Rows of a split and language, of some speakers or all."""
    rows = read_manifest(corpus / MANIFEST_NAME)
    known = {row.speaker for row in rows}
    unknown = [name for name in speakers or () if name not in known]
    require(not unknown, "--speaker", f"speakers of {corpus}", unknown)
    wanted = set(speakers or known)
    return [
        row for row in rows if row.split == split and row.lang == lang and row.speaker in wanted
    ]


if __name__ == "__main__":
    raise SystemExit(main())
