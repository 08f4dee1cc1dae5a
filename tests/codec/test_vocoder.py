import sys

import pytest
import torch

from codec.config import CodecConfig, MelConfig
from codec.discriminators import Discriminators
from codec.phases import DiscriminatorConfig
from codec.vocoder import Vocoder, import_vocos


def test_importing_vocos_leaves_no_stand_ins_behind():
    """A stub left in sys.modules breaks other libraries' availability checks."""
    import_vocos("models")
    for name in ("torchaudio", "torchaudio.transforms", "encodec"):
        module = sys.modules.get(name)
        assert module is None or module.__spec__ is not None


@pytest.mark.parametrize("padding", ["same", "center"])
def test_the_vocoder_gives_one_hop_a_frame(padding):
    values = CodecConfig.preset("tiny").to_dict()
    values["mel"]["padding"] = padding
    vocoder = Vocoder(CodecConfig.from_dict(values))
    assert vocoder(torch.randn(2, 100, 12)).shape == (2, 12 * 256)


def test_a_mel_of_another_convention_is_refused():
    vocoder = Vocoder(CodecConfig.preset("tiny"))
    with pytest.raises(ValueError, match="floor"):
        vocoder.check_mel(MelConfig(floor=1e-5))


def test_discriminators_judge_a_waveform_with_the_vocos_parts():
    critics = Discriminators(DiscriminatorConfig(periods=(2,), n_ffts=(512,), channels=4))
    scores, maps = critics(torch.randn(2, 4096))
    assert [score.shape[0] for score in scores] == [2, 2]
    # five convolutions whose first output is left out, and the last layer; in five bands
    assert [len(member) for member in maps] == [5, 5 * 4 + 1]
