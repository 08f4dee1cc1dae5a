import pytest
import torch

from slm.model.code_init import init_codes_from_codebook


def test_neighbours_in_the_codebook_start_as_neighbours(make_lm):
    lm = make_lm()
    size = lm.vocabulary.codebook_size
    codebook = torch.randn(size, 6)
    codebook[1] = codebook[0] + 0.01
    before = lm.embedding.weight.detach().clone()
    init_codes_from_codebook(lm, codebook)
    start = lm.vocabulary.code_start
    for weight in (lm.embedding.weight, lm.head.weight):
        codes = weight.detach()[start : start + size]
        distances = torch.cdist(codes, codes)
        assert distances[0, 1] < 0.3 * distances[0, 2:].min()
        assert distances[0, 1] > 0
        assert float(codes.std()) == pytest.approx(0.02, rel=0.2)
    assert torch.equal(lm.embedding.weight[:start], before[:start])


def test_the_start_depends_on_the_seed_alone(make_lm):
    codebook = torch.randn(make_lm().vocabulary.codebook_size, 4)
    models = [make_lm() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        init_codes_from_codebook(model, codebook, seed)
    first, again, other = (model.head.weight for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_codebook_of_another_size_is_refused(make_lm):
    lm = make_lm()
    with pytest.raises(ValueError, match=str(lm.vocabulary.codebook_size)):
        init_codes_from_codebook(lm, torch.randn(3, 4))
    with pytest.raises(ValueError, match="finite"):
        init_codes_from_codebook(lm, torch.full((lm.vocabulary.codebook_size, 4), float("nan")))
