"""Configuration of distillation and of the perceptual loss, readable without torch.

Not frozen, and checked when built, as the classes of `codec.training.config`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from codec.checks import one_of, require

PHONES = "phones"  # name of the teacher that is no model
AXES = ("time", "channel")
DISTANCES = ("log_sigmoid", "cosine")


@dataclass
class SemanticConfig:
    """Semantic distillation: the teacher whose features the quantized latents learn to predict."""

    # "mfcc", "phones" of `alignments`, a folder with a HuBERT or a Whisper in the transformers
    # layout, or its name on the Hugging Face hub, such as "facebook/hubert-base-ls960"; empty for
    # no teacher. The folder's config.json says which of the two it is.
    teacher: str = ""
    # Along which student and teacher are compared: "time" takes one cosine for every clip and
    # channel over the clip's frames, "channel" one for every frame.
    axis: str = "time"
    # "log_sigmoid" is -log sigmoid(cosine), from 0.313 to 1.313; "cosine" is 1 - cosine, 0 to 2.
    distance: str = "log_sigmoid"
    # Folder in which the teacher's features of whole clips are kept between runs; empty computes
    # them on every crop.
    cache: str = ""
    # On a CUDA device a HuBERT or Whisper multiplies in bfloat16, as its students do there; its
    # cached features are others then. Elsewhere it is computed in float32.
    bf16: bool = False
    # Of the teacher "phones": files of forced alignments, JSON lines with the `id` of a clip and
    # `units` [phone, start, end], such as those that the stage train_text leaves in a run. The loss
    # is the cross-entropy of the phone at each code, nats; axis, distance and cache have no part.
    alignments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        given, wanted = bool(self.alignments), self.teacher == PHONES
        expected = f"files for the teacher {PHONES} alone"
        require(given == wanted, "semantic.alignments", expected, self.alignments)
        one_of("semantic.axis", self.axis, AXES)
        one_of("semantic.distance", self.distance, DISTANCES)


@dataclass
class PerceptualConfig:
    """The model in whose states decoded and recorded speech are compared."""

    # Folder of a Whisper in the transformers layout, such as whisper-tiny.en; empty for none.
    model: str = ""
