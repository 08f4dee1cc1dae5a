"""The network of UTMOS22 and the names of its published weights."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from eval.metrics.mos import UTMOS22, UtmosMetric  # noqa: E402
from eval.metrics.readiness import status  # noqa: E402
from eval.metrics.utmos import UtmosNetwork, published_to_ours  # noqa: E402


def tiny():
    """The network at a hundredth of its width."""
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_kernel=(10, 3),
        conv_stride=(5, 2),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
    )
    return UtmosNetwork(config, context_dim=4, lstm_dim=6, hidden_dim=8).eval()


OURS_TO_PUBLISHED = (
    ("feature_projection.projection.", "post_extract_proj."),
    ("feature_projection.layer_norm.", "layer_norm."),
    (".feed_forward.intermediate_dense.", ".fc1."),
    (".feed_forward.output_dense.", ".fc2."),
    (".attention.", ".self_attn."),
    ("pos_conv_embed.conv.parametrizations.weight.original0", "pos_conv.0.weight_g"),
    ("pos_conv_embed.conv.parametrizations.weight.original1", "pos_conv.0.weight_v"),
    ("pos_conv_embed.conv.", "pos_conv.0."),
)


def published_name(name):
    """Our name of a weight as the published file spells it."""
    for ours, theirs in OURS_TO_PUBLISHED:
        name = name.replace(ours, theirs)
    if ".conv_layers." in name:
        return name.replace(".conv.", ".0.").replace(".layer_norm.", ".2.")
    if ".encoder.layers." in name and "final" not in name:
        return name.replace(".layer_norm.", ".self_attn_layer_norm.")
    return name


def test_weights_under_their_published_names_are_loaded():
    source, target = tiny(), tiny()
    for weight in target.parameters():
        torch.nn.init.zeros_(weight)
    state = {published_name(name): weight for name, weight in source.state_dict().items()}
    assert "wav2vec2.encoder.layers.1.self_attn.q_proj.weight" in state
    assert "wav2vec2.feature_extractor.conv_layers.0.2.weight" in state
    assert "wav2vec2.encoder.pos_conv.0.weight_g" in state
    assert all(published_to_ours(published_name(n)) == n for n in source.state_dict())
    target.load_published(state | {"wav2vec2.mask_emb": torch.zeros(16)})
    waveform = 0.1 * torch.randn(2, 1600)
    torch.testing.assert_close(target(waveform), source(waveform))
    assert source(waveform).shape == (2,)


def test_the_score_of_a_flat_network_is_its_bias_on_the_scale_of_mos():
    network = tiny()
    torch.nn.init.zeros_(network.projection[2].weight)
    torch.nn.init.constant_(network.projection[2].bias, 0.25)
    assert network(torch.randn(1, 1600)).tolist() == pytest.approx([3.5])


def test_other_weights_are_refused():
    network = tiny()
    state = {published_name(name): weight for name, weight in network.state_dict().items()}
    state.pop("blstm.bias_hh_l0")
    with pytest.raises(ValueError, match="blstm"):
        network.load_published(state)
    state["blstm.bias_hh_l0"] = torch.zeros(3)
    with pytest.raises(ValueError, match=r"\(3,\) for \(24,\)"):
        network.load_published(state)


def test_the_metric_asks_for_its_weight(monkeypatch):
    monkeypatch.setenv(UTMOS22.variable, "")
    assert status(UtmosMetric()) == "weight missing"
    with pytest.raises(ValueError, match="SpeechMOS"):
        UtmosMetric().prepare()
