"""A codec taken as it is, phones aligned with eSpeak NG's speech, and a model that reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.audio import write_audio
from recipes.corpora.espeak import VOICES, Espeak
from recipes.runner.config import load_config
from recipes.runner.schema import Config
from recipes.runner.stages import run_stages
from recipes.speech_requests import choose_texts
from recipes.train_codec import take_as_it_is
from recipes.train_slm import build_lm, spoken_rows
from slm import SpeechLM, Synthesizer, TextTokenizer, TokenStore
from slm.text.lexicon import Lexicon, read_dictionary
from slm.text.phone_tokenizer import PhoneTokenizer
from slm.text.tokenizer import load_tokenizer

CONFIGS = Path(__file__).resolve().parents[2] / "recipes/configs"
TEXTS = ("The old man found a red boat.", "A bell was ringing last night.", "She saw the sea.")
WORDS = """
a AH
bell B EH L
sea S IY
the DH AH
"""


def make_config(run: Path, *overrides: str) -> Config:
    return load_config(CONFIGS / "slm_mini.yaml", [f"run={run}", "threads=1", *overrides])


@pytest.fixture
def codec_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    HHCodec(CodecConfig.preset("tiny")).eval().save_pretrained(tmp_path / "codec")
    return tmp_path / "codec"


def write_spoken_corpus(folder: Path) -> None:
    """Each text twice in train and once in valid and test; a German row in train and in valid."""
    rows: list[dict[str, Any]] = []
    with Espeak() as espeak:
        for split, repeats in (("train", 2), ("valid", 1), ("test", 1)):
            for number, text in enumerate(TEXTS * repeats):
                clip = f"{split}{number}"
                waveform = espeak.speak(text, VOICES[number % 2])
                (folder / "audio").mkdir(parents=True, exist_ok=True)
                write_audio(folder / f"audio/{clip}.wav", waveform, espeak.sample_rate)
                about = {"duration": len(waveform) / espeak.sample_rate, "split": split}
                lang = "de" if clip in ("train5", "valid2") else "en"
                speaker = {"speaker": f"s{number % 2}", "lang": lang, "source": "kathleen"}
                path = f"audio/{clip}.wav"
                rows.append({"id": clip, "audio": path, "text": text, **about, **speaker})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_without_phases_the_codec_is_taken_as_it_is(tmp_path: Path, codec_folder: Path) -> None:
    config = make_config(tmp_path / "run", f"codec.start={codec_folder}")
    (tmp_path / "run/train_codec").mkdir(parents=True)
    folder = take_as_it_is(config, tmp_path / "run/train_codec")
    start, taken = (HHCodec.from_pretrained(f) for f in (codec_folder, folder / "model"))
    assert taken.fingerprint == start.fingerprint
    config.codec.start = None
    with pytest.raises(ValueError, match="neither"):
        take_as_it_is(config, folder)


def test_a_code_table_needs_the_codecs_vectors(tmp_path: Path) -> None:
    config = make_config(tmp_path, "train_slm.place_codes=false")
    tokenizer = PhoneTokenizer(Lexicon({}))
    with pytest.raises(ValueError, match="place_codes"):
        build_lm(config, _Store(), tokenizer)  # type: ignore[arg-type]


class _Store:
    """What `build_lm` asks of a store before it looks into it."""

    codebook_size, codec_fingerprint, frame_rate = 64, "c", 23.4375
    rows: tuple[()] = ()


@pytest.mark.slow
def test_every_stage_of_an_aligned_model_reads_what_the_one_before_it_made(
    tmp_path: Path, codec_folder: Path
) -> None:
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("espeakng_loader")
    write_spoken_corpus(tmp_path / "corpus")
    run = tmp_path / "run"
    # The rules of the whole dictionary take half a minute; a lexicon that is there is kept.
    Lexicon(read_dictionary(WORDS.splitlines()), {"<o>": ("AO",)}).save(run / "train_text")
    config = make_config(
        run,
        f"corpus={tmp_path / 'corpus'}",
        f"codec.start={codec_folder}",
        "train_slm.preset=tiny",
        "train_slm.overrides={lookahead: 1, code_table: 8}",
        "train_slm.seq_len=512",
        "train_slm.batch_size=1",
        "train_slm.steps=2",
        "train_slm.warmup_steps=1",
        "train_slm.bf16=false",
    )
    names = ["prepare", "train_codec", "encode_corpus", "train_text", "train_slm"]
    reports = {report.name: report for report in run_stages(config, names)}
    figures = reports["train_text"].metrics["train"]
    assert figures["aligned"] >= 3  # not every synthetic voice is understood
    assert figures["aligned"] + figures["failed"] == 5
    assert figures["without"] == 1
    store = TokenStore(run / "encode_corpus/train")
    assert len(store) == 24  # each clip from four starting points
    spoken = spoken_rows(config, store, "train")
    assert len(spoken) == 4 * figures["aligned"]
    for row in store.rows:
        if row["id"] in spoken:
            assert spoken[row["id"]].counts.sum() == row["num_codes"]
    assert np.isfinite(reports["train_slm"].metrics["valid_nats_per_code"])
    lm = SpeechLM.from_pretrained(run / "train_slm/model")
    assert lm.config.is_aligned
    assert not isinstance(load_tokenizer(run / "train_slm/model"), TextTokenizer)
    assert [each.row["id"] for each in choose_texts(config)] == ["valid0", "valid1"]
    synthesizer = Synthesizer.from_pretrained(run / "train_codec/model", run / "train_slm/model")
    assert synthesizer.tts("A bell, the sea!", voice="s0").stopped == "end"
