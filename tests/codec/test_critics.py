from dataclasses import replace

import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.critics import CRITICS, load_critics, save_critics
from codec.phases import DiscriminatorConfig, LossWeights, PhaseConfig
from codec.semantic_config import SemanticConfig
from codec.training import CodecTraining

PHASE = PhaseConfig(
    weights=LossWeights(mel=1.0, adversarial=0.1, semantic=0.1),
    discriminators=DiscriminatorConfig((), (256,), 2),
    semantic=SemanticConfig(teacher="mfcc"),
)


def module_of(phase=PHASE, seed=0):
    return CodecTraining(HHCodec(CodecConfig.preset("tiny")), phase, seed)


def test_discriminators_and_the_students_head_come_back_from_a_released_folder(tmp_path):
    first, second = module_of(seed=1), module_of(seed=2)
    first.codec.save_pretrained(tmp_path)
    assert save_critics(first, tmp_path) == tmp_path / CRITICS
    assert load_critics(second, tmp_path) == []
    for part in ("discriminators", "distillation"):
        stored = getattr(first, part).state_dict()
        assert stored
        for name, value in getattr(second, part).state_dict().items():
            assert torch.equal(value, stored[name]), name
    HHCodec.from_pretrained(tmp_path)  # to which the file beside it means nothing


def test_a_folder_without_them_is_said_to_have_none(tmp_path):
    (notice,) = load_critics(module_of(), tmp_path)
    assert "discriminators, distillation start anew" in notice
    assert CRITICS in notice


def test_those_that_do_not_fit_are_named_and_the_others_taken(tmp_path):
    save_critics(module_of(), tmp_path)
    wider = replace(PHASE, discriminators=DiscriminatorConfig((), (256,), 4))
    (notice,) = load_critics(module_of(wider), tmp_path)
    assert "discriminators start anew" in notice
    assert "expected (4,), got (2,)" in notice
    more = replace(PHASE, discriminators=DiscriminatorConfig((), (256, 128), 2))
    (notice,) = load_critics(module_of(more), tmp_path)
    assert "members.1" in notice


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / CRITICS).write_bytes(b"not a tensor")
    (notice,) = load_critics(module_of(), tmp_path)
    assert "damaged" in notice


def test_a_phase_with_nothing_that_only_trains_writes_and_misses_nothing(tmp_path):
    plain = module_of(replace(PHASE, weights=LossWeights(mel=1.0)))
    assert save_critics(plain, tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    assert load_critics(plain, tmp_path) == []


@pytest.mark.parametrize("source", ["hh-mini-24k", "nowhere"])
def test_a_name_is_looked_up_among_the_bundled_codecs(source):
    (notice,) = load_critics(module_of(), source)
    assert source in notice
