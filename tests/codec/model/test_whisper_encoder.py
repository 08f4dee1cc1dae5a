import json
import math

import pytest
import torch
from safetensors.torch import save_file

from codec.model.config import MelConfig
from codec.model.encoder import SpeechFeatures
from codec.model.mel import LogMel, mel_filterbank
from codec.model.whisper_encoder import MAX_STATES, WhisperEncoder, WhisperInput

MEL = MelConfig(floor=1e-2)


def without_attention(encoder: WhisperEncoder) -> None:
    """Leave of the first layer what is local."""
    encoder.get_parameter("layers.0.self_attn.out_proj.weight").data.zero_()


def whisper_log_mel(waveform: torch.Tensor) -> torch.Tensor:
    """Whisper's own front end: (T,) at 16 kHz to log10 of power (80, N), before clamping."""
    spectrum = torch.stft(waveform, 400, 160, window=torch.hann_window(400), return_complex=True)
    power = spectrum[:, :-1].abs() ** 2
    filters = mel_filterbank(16_000, 400, 80, "slaney")
    return (filters @ power).clamp(min=1e-10).log10()


def test_mapped_mels_are_near_those_of_the_models_own_front_end(make_waveform):
    rates = {rate: torch.from_numpy(make_waveform(2.048, rate)) for rate in (24_000, 16_000)}
    mapped, peak = WhisperInput(MEL)(LogMel(MEL)(rates[24_000][None]))
    own = whisper_log_mel(rates[16_000])[:, : mapped.shape[-1]]
    loud = own > own.max() - 3
    both = torch.stack([mapped[0][loud] * 4 - 4, own[loud]])
    assert mapped.shape == (1, 80, 204)
    assert abs(float(peak) - float(own.max())) < 1  # of values that span 8: pure tones are extreme
    assert float((both[0] - both[1]).abs().median()) < 0.4
    assert float(torch.corrcoef(both)[0, 1]) > 0.85


def test_gradients_reach_the_log_mel(make_waveform):
    log_mel = LogMel(MEL)(torch.from_numpy(make_waveform(1.024))[None]).requires_grad_()
    features, _ = WhisperInput(MEL)(log_mel)
    features.square().sum().backward()
    assert log_mel.grad is not None
    assert (log_mel.grad.abs().sum((0, 1)) > 0).all()


def test_a_decoded_mel_is_clamped_below_the_peak_of_its_recording(make_waveform):
    to_input = WhisperInput(MEL)
    log_mel = LogMel(MEL)(torch.from_numpy(make_waveform(1.024))[None])
    features, peak = to_input(log_mel)
    quieter, same = to_input(log_mel - math.log(2), peak)
    assert torch.equal(peak, same)
    assert float(features.max() - quieter.max()) == pytest.approx(2 * math.log10(2) / 4, abs=1e-5)


def test_other_conventions_are_refused():
    with pytest.raises(ValueError, match=r"expected log-mels of \(24000, 1024, 100, 'htk'\)"):
        WhisperInput(MelConfig(n_mels=80))


def test_long_audio_in_windows_equals_whole_away_from_their_edges():
    encoder = WhisperEncoder(16, 1, 2).eval()
    without_attention(encoder)
    encoder.positions.zero_()  # leaves what is local: a window's interior equals the whole
    features = torch.randn(1, 80, 2 * MAX_STATES + 500)
    states = encoder(features)[-1]
    embedded = encoder.conv1(features)
    embedded = torch.nn.functional.gelu(encoder.conv2(torch.nn.functional.gelu(embedded)))
    whole = encoder.layer_norm(encoder.layers[0](embedded.transpose(1, 2)))
    assert states.shape == (1, MAX_STATES + 250, 16)
    torch.testing.assert_close(states, whole)


def save_whisper(folder, encoder, **changes):
    folder.mkdir()
    config = {
        "model_type": "whisper",
        "num_mel_bins": 80,
        "d_model": 16,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    state = {f"model.encoder.{k}": v.half() for k, v in encoder.state_dict().items()}
    save_file(state, folder / "model.safetensors")


def test_published_weights_are_read_without_the_decoder(tmp_path):
    encoder = WhisperEncoder(16, 2, 2)
    save_whisper(tmp_path / "whisper", encoder)
    loaded = WhisperEncoder.from_pretrained(tmp_path / "whisper")
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, encoder.state_dict()[name].half().float())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_what_is_no_whisper_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"got no config\.json"):
        WhisperEncoder.from_pretrained(tmp_path)
    save_whisper(tmp_path / "other", WhisperEncoder(16, 2, 2), model_type="hubert")
    with pytest.raises(ValueError, match="expected model_type whisper with 80 bands, got hubert"):
        WhisperEncoder.from_pretrained(tmp_path / "other")
    save_whisper(tmp_path / "short", WhisperEncoder(16, 1, 2))
    with pytest.raises(ValueError, match="got none of"):
        WhisperEncoder.from_pretrained(tmp_path / "short")


def test_speech_features_change_nothing_until_they_train(make_waveform):
    features = SpeechFeatures(MEL, 12, speech_dim=16, num_layers=1, num_heads=2)
    log_mel = LogMel(MEL)(torch.from_numpy(make_waveform(1.024))[None])
    assert torch.equal(features(log_mel, 24), torch.zeros(1, 12, 24))


def test_speech_features_of_a_code_come_from_its_own_span():
    """Whisper's attention off: a change in the second half moves no code of the first."""
    features = SpeechFeatures(MEL, 12, speech_dim=16, num_layers=1, num_heads=2)
    torch.nn.init.normal_(features.project.weight)
    without_attention(features.whisper)
    log_mel = torch.randn(1, 100, 96)
    changed = log_mel.clone()
    changed[..., 64:] += torch.randn(1, 100, 32) * 0.1
    first, second = features(log_mel, 24), features(changed, 24)
    assert torch.allclose(first[..., :14], second[..., :14], atol=1e-5)
    assert (first[..., 18:] - second[..., 18:]).abs().amin(-1).max() > 1e-4


def test_states_are_the_same_with_and_without_a_gradient():
    features = torch.rand(2, 80, 64)
    encoder = WhisperEncoder(dim=48, num_layers=2, num_heads=2)
    states = encoder(features)
    with_gradient = encoder(features.requires_grad_(True))
    for state, other in zip(states, with_gradient, strict=True):
        torch.testing.assert_close(state, other, rtol=1e-4, atol=1e-5)
    with_gradient[-1].sum().backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0
