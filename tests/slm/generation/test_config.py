from __future__ import annotations

import pytest

from slm.data.vocabulary import Vocabulary
from slm.generation.config import GenerationSettings
from slm.model.config import SpeechLMConfig


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="top_p"):
        GenerationSettings(top_p=0)
    for wrong in (-1.0, 1e-40):
        with pytest.raises(ValueError, match="temperature: expected 0 or"):
            GenerationSettings(temperature=wrong)
    with pytest.raises(ValueError, match="guidance: expected a number in"):
        GenerationSettings(guidance=-1.0)
    for wrong in (float("inf"), -float("inf"), float("nan")):
        for name in ("temperature", "guidance"):
            with pytest.raises(ValueError, match=f"{name}: expected a finite number"):
                GenerationSettings(**{name: wrong})  # type: ignore[arg-type]


def test_the_settings_of_a_model_are_those_of_its_config() -> None:
    vocabulary = Vocabulary(10, 20).to_dict()
    config = SpeechLMConfig(vocabulary, "codec", 23.4375)
    assert GenerationSettings.for_model(config) == GenerationSettings()
    own = SpeechLMConfig(vocabulary, "codec", 23.4375, temperature=0.4, top_p=0.8)
    assert GenerationSettings.for_model(own) == GenerationSettings(temperature=0.4, top_p=0.8)
