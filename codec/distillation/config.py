"""Settings of semantic distillation, readable without torch."""

from __future__ import annotations

from dataclasses import dataclass

AXES = ("time", "channel")
DISTANCES = ("log_sigmoid", "cosine")


@dataclass
class SemanticConfig:
    """What the quantized latents are taught beside the sound.

    Attributes:
        teacher: "mfcc", a folder with a HuBERT in the transformers layout, or its name on the
            Hugging Face hub, such as "facebook/hubert-base-ls960"; empty for no teacher.
        axis: along which student and teacher are compared: "time" takes one cosine for every
            clip and channel over the clip's frames, "channel" one for every frame.
        distance: "log_sigmoid" is -log sigmoid(cosine), from 0.313 to 1.313; "cosine" is
            1 - cosine, from 0 to 2.
        cache: folder in which the teacher's features of whole clips are kept between runs;
            empty computes them on every crop.
    """

    teacher: str = ""
    axis: str = "time"
    distance: str = "log_sigmoid"
    cache: str = ""

    def check(self) -> SemanticConfig:
        """Return self when it can be used.

        Raises:
            ValueError: naming the field, what was expected and what came.
        """
        if self.axis not in AXES:
            raise ValueError(f"semantic.axis: expected one of {AXES}, got {self.axis!r}")
        if self.distance not in DISTANCES:
            raise ValueError(
                f"semantic.distance: expected one of {DISTANCES}, got {self.distance!r}"
            )
        return self


@dataclass
class PerceptualConfig:
    """The model in whose states decoded and recorded speech are compared.

    Attributes:
        model: folder of a Whisper in the transformers layout, such as whisper-tiny.en; empty for
            none.
    """

    model: str = ""
