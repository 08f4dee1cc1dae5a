"""A language model on disk: its folder, and the files of other parts that lie in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from codec.files import write_bytes
from codec.files.reading import read_file
from codec.hub import HubOptions, card_text, model_folder
from codec.weights import bounded_build, check_finite, save_tensors
from slm.text.lexicon import LEXICON_NAME
from slm.text.sentencepiece_tokenizer import MODEL_NAME

from .config import SpeechLMConfig
from .int8_weights import expanded_weights

if TYPE_CHECKING:
    from .stored import StoredLM

Model = TypeVar("Model", bound=nn.Module)
CONFIG, WEIGHTS = "config.yaml", "model.safetensors"
# Text models, and the voices of `slm.synthesis.voices`.
TEXT_MODELS = LEXICON_NAME, MODEL_NAME
COMPANIONS = (*TEXT_MODELS, "voices.json")
# Models that come with the package, by name.
BUNDLED = Path(__file__).resolve().parent.parent / "pretrained"
_USE = """from slm import Synthesizer

synthesizer = Synthesizer.from_pretrained("CODEC", "{repository}")  # codec {codec}
synthesizer.tts("Good morning.").save("morning.wav")"""


def pretrained_folder(path_or_repo: Path | str, hub: HubOptions | None = None) -> Path:
    """Folder of a model's files.

    Args:
        path_or_repo: A folder, the name of a model that comes with the package ("hh-mini-slm"), or
            a Hugging Face hub repository of the same shape.
        hub: Of a download.

    Raises:
        ValueError: None of them is there.
    """
    return model_folder(path_or_repo, "speech LM", bundled=BUNDLED, hub=hub)


def read_model(folder: Path, build: type[Model]) -> Model:
    """Build a model with the weights of a folder, of whatever precision they are stored in.

    Args:
        folder: Of `write_model`.
        build: Class of the model, which takes the config.

    Raises:
        ValueError: A file is missing or does not fit the config.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"expected a speech LM folder with {name}, got {folder} without it")
    config, path = SpeechLMConfig.load(folder / CONFIG), folder / WEIGHTS
    try:
        stored = load_file(path)
        check_finite(path, stored)
        with bounded_build(folder, stored):
            # Float32 whatever torch's default type is, so that weights come as they are stored.
            model = build(config).float()
        model.load_state_dict(expanded_weights(stored))
    except (SafetensorError, RuntimeError) as error:
        message = f"{path} does not fit its config: {error}"
        raise ValueError(message) from error
    return model


def write_model(folder: Path, model: StoredLM) -> None:
    """Write config and weights into a folder that is new, or that of `replaced_files`."""
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    model.config.save(folder / CONFIG)
    save_tensors(tensors, folder / WEIGHTS)


def read_companions(folder: Path) -> dict[str, bytes]:
    """Read what of a folder belongs to other parts than the model, by file name."""
    paths = [folder / name for name in COMPANIONS]
    return {path.name: read_file(path) for path in paths if os.path.lexists(path)}


def write_companions(
    folder: Path, companions: Mapping[str, bytes], *, text_model: bool = True
) -> None:
    """Write them into another folder, without the text models where that gets another one."""
    for name, content in companions.items():
        if text_model or name not in TEXT_MODELS:
            write_bytes(folder / name, content)


def lm_card(lm: StoredLM, repository: str, *, license: str | None = None) -> str:  # noqa: A002
    """Write the card of a language model's repository, with the header that the hub reads.

    Args:
        lm: Its sizes are stated.
        repository: Name on the hub, such as "me/my-lm".
        license: Identifier, such as "apache-2.0"; None leaves it out.
    """
    config = lm.config
    facts = {
        "parameters": f"{sum(value.numel() for value in lm.parameters()):,}",
        "context": f"{config.max_seq_len} tokens",
        "codes": f"{config.vocabulary['codebook_size']}, {config.frame_rate:g} a second",
        "codec": f"`{config.codec_fingerprint}`",
    }
    return card_text(
        repository.rpartition("/")[2],
        "A language model of the hh-slm toolkit over text and the codes of a speech codec.",
        _USE.format(repository=repository, codec=config.codec_fingerprint),
        pipeline_tag="text-to-speech",
        tags=("audio", "speech", "speech-language-model", "text-to-speech"),
        license=license,
        facts=facts,
    )
