"""The speed of the speech that a server is asked for."""

import numpy as np
import pytest

from codec import HHCodec
from slm.serving.formats import encoded
from slm.serving.speaker import Asked, Speaker
from slm.synthesis.synthesizer import Synthesizer
from slm.text.lexicon import Lexicon
from slm.text.phone_tokenizer import PhoneTokenizer
from tests.support.builders import new_lm


@pytest.fixture
def aligned(codec: HHCodec) -> Synthesizer:
    tokenizer = PhoneTokenizer(Lexicon({"a": ("AH",), "dog": ("D", "AO", "G")}))
    lm = new_lm(codec, tokenizer, lookahead=1)
    return Synthesizer(codec, lm, tokenizer, {"ann": np.arange(10)})


@pytest.mark.parametrize("delivery", ["whole", "audio"])
def test_a_server_speaks_as_fast_as_it_is_asked_to(aligned: Synthesizer, delivery: str) -> None:
    speaker = Speaker(aligned)
    assert speaker.has_speeds
    asked = Asked("a dog", "ann", 3, format="pcm", delivery=delivery, speed=0.5)
    made = b"".join(speaker.answer(asked, lambda: None))
    expected = aligned.tts("a dog", voice="ann", seed=3, speed=0.5)
    assert len(made) == 2 * len(expected.waveform)
    if delivery == "whole":
        assert made == encoded(expected.waveform, aligned.codec.sample_rate, "pcm")
    plain = aligned.tts("a dog", voice="ann", seed=3)
    assert len(expected.codes) != len(plain.codes)
