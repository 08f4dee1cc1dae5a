"""Configuration of distillation and of the perceptual loss, readable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from codec.checks import one_of

AXES = ("time", "channel")
DISTANCES = ("log_sigmoid", "cosine")


@dataclass
class SemanticConfig:
    """Semantic distillation: the teacher whose features the quantized latents learn to predict.

    Attributes:
        teacher: "mfcc", a folder with a HuBERT in the transformers layout, or its name on the
            Hugging Face hub, such as "facebook/hubert-base-ls960"; empty for no teacher.
        axis: Along which student and teacher are compared: "time" takes one cosine for every
            clip and channel over the clip's frames, "channel" one for every frame.
        distance: "log_sigmoid" is -log sigmoid(cosine), from 0.313 to 1.313; "cosine" is
            1 - cosine, from 0 to 2.
        cache: Folder in which the teacher's features of whole clips are kept between runs;
            empty computes them on every crop.

    Raises:
        ValueError: Names the field, what was expected and what came.
    """

    teacher: str = ""
    axis: str = "time"
    distance: str = "log_sigmoid"
    cache: str = ""

    def __post_init__(self) -> None:
        one_of("semantic.axis", self.axis, AXES)
        one_of("semantic.distance", self.distance, DISTANCES)


@dataclass
class PerceptualConfig:
    """The model in whose states decoded and recorded speech are compared.

    Attributes:
        model: Folder of a Whisper in the transformers layout, such as whisper-tiny.en; empty for
            none.
    """

    model: str = ""
