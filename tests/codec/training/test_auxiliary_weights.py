from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from codec import CodecConfig, HHCodec
from codec.distillation.config import SemanticConfig
from codec.training.auxiliary_weights import (
    AUXILIARY,
    collect_auxiliary_weights,
    load_auxiliary_weights,
    save_auxiliary_weights,
)
from codec.training.config import DiscriminatorConfig, LossWeights, PhaseConfig
from codec.training.module import CodecTraining
from tests.support.builders import BEFORE_VOCODER

PHASE = PhaseConfig(
    weights=LossWeights(mel=1.0, adversarial=0.1, semantic=0.1),
    discriminators=DiscriminatorConfig((), (256,), 2),
    semantic=SemanticConfig(teacher="mfcc"),
)


def module_of(phase: PhaseConfig = PHASE, seed: int = 0) -> CodecTraining:
    return CodecTraining(HHCodec(CodecConfig.preset("tiny")), phase, seed)


def test_discriminators_and_the_students_head_come_back_from_a_released_folder(
    tmp_path: Path,
) -> None:
    first, second = module_of(seed=1), module_of(seed=2)
    first.codec.save_pretrained(tmp_path)
    assert save_auxiliary_weights(first, tmp_path) == tmp_path / AUXILIARY
    assert load_auxiliary_weights(second, tmp_path) == []
    for part in ("discriminators", "distillation"):
        stored = getattr(first, part).state_dict()
        assert stored
        for name, value in getattr(second, part).state_dict().items():
            assert torch.equal(value, stored[name]), name
    HHCodec.from_pretrained(tmp_path)  # to which the file beside it means nothing


def test_a_folder_without_them_gives_a_notice(tmp_path: Path) -> None:
    (notice,) = load_auxiliary_weights(module_of(), tmp_path)
    assert "discriminators, distillation start anew" in notice
    assert AUXILIARY in notice


def test_those_that_do_not_fit_are_named_and_the_others_taken(tmp_path: Path) -> None:
    save_auxiliary_weights(module_of(), tmp_path)
    wider = replace(PHASE, discriminators=DiscriminatorConfig((), (256,), 4))
    (notice,) = load_auxiliary_weights(module_of(wider), tmp_path)
    assert "discriminators start anew" in notice
    assert "expected (4,), got (2,)" in notice
    more = replace(PHASE, discriminators=DiscriminatorConfig((), (256, 128), 2))
    (notice,) = load_auxiliary_weights(module_of(more), tmp_path)
    assert "members.1" in notice


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / AUXILIARY).write_bytes(b"not a tensor")
    (notice,) = load_auxiliary_weights(module_of(), tmp_path)
    assert "damaged" in notice


def test_a_phase_with_nothing_that_only_trains_writes_and_misses_nothing(tmp_path: Path) -> None:
    plain = module_of(replace(PHASE, train=BEFORE_VOCODER, weights=LossWeights(mel=1.0)))
    assert save_auxiliary_weights(plain, tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    assert load_auxiliary_weights(plain, tmp_path) == []


def test_an_earlier_phase_without_discriminators_gives_no_notice(tmp_path: Path) -> None:
    losses = LossWeights(mel=1.0, semantic=0.1)
    distilled = replace(PHASE, train=BEFORE_VOCODER, weights=losses)
    first = module_of(distilled, seed=1)
    save_auxiliary_weights(first, tmp_path)
    second = module_of(seed=2)
    assert load_auxiliary_weights(second, earlier=[tmp_path / "nowhere", tmp_path]) == []
    assert torch.equal(head(second), head(first))


def test_each_network_comes_from_the_first_folder_that_has_it(tmp_path: Path) -> None:
    """A phase with a teacher alone once hid the discriminators of the release it began from."""
    release, first, second = (module_of(seed=seed) for seed in range(3))
    save_auxiliary_weights(release, folder_of(tmp_path / "release"))
    first.discriminators = None
    save_auxiliary_weights(first, folder_of(tmp_path / "first"))
    assert load_auxiliary_weights(second, tmp_path / "release", [tmp_path / "first"]) == []
    assert torch.equal(head(second), head(first))
    assert_same_discriminators(second, release)
    (notice,) = load_auxiliary_weights(second, tmp_path / "first")
    assert notice.startswith("discriminators start anew")


def test_a_release_gets_each_network_from_the_last_phase_that_had_it(tmp_path: Path) -> None:
    """Of a last phase with a teacher alone, the discriminators were once left out."""
    first, last, again = (module_of(seed=seed) for seed in range(3))
    save_auxiliary_weights(first, folder_of(tmp_path / "first"))
    last.discriminators = None
    save_auxiliary_weights(last, folder_of(tmp_path / "last"))
    phases = [tmp_path / "last", tmp_path / "plain", tmp_path / "first"]
    assert collect_auxiliary_weights(phases, tmp_path / "model") == tmp_path / "model" / AUXILIARY
    assert load_auxiliary_weights(again, tmp_path / "model") == []
    assert torch.equal(head(again), head(last))
    assert_same_discriminators(again, first)
    assert collect_auxiliary_weights(phases[1:2], tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def assert_same_discriminators(module: CodecTraining, other: CodecTraining) -> None:
    first, second = (each.get_submodule("discriminators").state_dict() for each in (module, other))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def head(module: CodecTraining) -> Tensor:
    return module.get_parameter("distillation.head.weight")


def folder_of(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("source", ["hh-mini-24k", "nowhere"])
def test_a_name_is_looked_up_among_the_bundled_codecs(source: str) -> None:
    (notice,) = load_auxiliary_weights(module_of(), source)
    assert source in notice
