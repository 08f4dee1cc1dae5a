from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from codec import CodecConfig, HHCodec
from codec.hub import HubOptions, card_text, download, model_folder
from codec.interface.card import codec_card
from codec.model.config import CodecConfigError
from tests.support.codecs import tiny_codec, voiced_codec
from tests.support.fake_hub import TOKEN, FakeHub, fake_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A hub that huggingface_hub takes for the real one, and an empty cache."""
    import huggingface_hub.constants as constants

    with fake_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        files = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


@pytest.fixture
def codec() -> HHCodec:
    return tiny_codec()


def header_of(card: str) -> dict[str, object]:
    start, header, _ = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(header)


def test_a_codec_goes_to_the_hub_and_comes_back(hub: FakeHub, codec: HHCodec) -> None:
    url = codec.push_to_hub("me/my-codec", token=TOKEN, license="apache-2.0")
    assert url.startswith(f"{hub.url}/me/my-codec/commit/")
    files = hub.repositories["me/my-codec"]["main"]
    assert sorted(files) == ["README.md", "config.yaml", "model.safetensors"]
    loaded = HHCodec.from_pretrained("me/my-codec")
    assert loaded.fingerprint == codec.fingerprint
    codes = torch.arange(9)
    assert loaded.decode(codes)[0].equal(codec.decode(codes)[0])
    card = files["README.md"].decode()
    assert header_of(card) == {
        "license": "apache-2.0",
        "library_name": "hh-slm",
        "pipeline_tag": "audio-to-audio",
        "tags": ["audio", "speech", "neural-codec", "speech-tokenizer"],
    }
    assert 'HHCodec.from_pretrained("me/my-codec")' in card
    assert codec.fingerprint in card


def test_a_revision_is_the_one_asked_for(hub: FakeHub, codec: HHCodec) -> None:
    codec.push_to_hub("me/my-codec", token=TOKEN)
    other = HHCodec(codec.config).eval()
    hub.repositories["me/my-codec"]["next"] = {}
    other.push_to_hub("me/my-codec", token=TOKEN, revision="next", message="Another")
    assert HHCodec.from_pretrained("me/my-codec").fingerprint == codec.fingerprint
    loaded = HHCodec.from_pretrained("me/my-codec", revision="next")
    assert loaded.fingerprint == other.fingerprint
    with pytest.raises(CodecConfigError, match=r"at revision 'never' \(it has no such revision\)"):
        HHCodec.from_pretrained("me/my-codec", revision="never")
    files = hub.files("me/my-codec", "main")
    assert files is not None
    assert "license" not in header_of(files["README.md"].decode())


def test_a_private_repository_asks_for_the_token(hub: FakeHub, codec: HHCodec) -> None:
    codec.push_to_hub("me/secret", token=TOKEN, private=True)
    asked_for = (
        r"'me/secret' is .* \(the hub shows none to this caller; a private one needs token=\)"
    )
    with pytest.raises(CodecConfigError, match=asked_for):
        HHCodec.from_pretrained("me/secret", token=False)
    loaded = HHCodec.from_pretrained("me/secret", token=TOKEN)
    assert loaded.fingerprint == codec.fingerprint


def test_what_the_cache_has_needs_no_server(hub: FakeHub, codec: HHCodec, tmp_path: Path) -> None:
    codec.push_to_hub("me/my-codec", token=TOKEN)
    place = tmp_path / "other cache"
    with pytest.raises(CodecConfigError, match="me/my-codec"):
        HHCodec.from_pretrained("me/my-codec", cache_dir=place, local_files_only=True)
    HHCodec.from_pretrained("me/my-codec", cache_dir=place)
    hub.requests.clear()
    HHCodec.from_pretrained("me/my-codec", cache_dir=place, local_files_only=True)
    assert hub.requests == []
    assert list(place.glob("models--me--my-codec"))


def test_an_upload_that_is_refused_is_a_value_error(hub: FakeHub, codec: HHCodec) -> None:
    with pytest.raises(ValueError, match=r"'me/my-codec' was not uploaded to the hub: .*401"):
        codec.push_to_hub("me/my-codec", token="wrong")
    with pytest.raises(ValueError, match="'a/b/c' was not uploaded"):
        codec.push_to_hub("a/b/c", token=TOKEN)
    assert hub.repositories == {}


def test_a_folder_has_no_revisions(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a hub repository for revision 'v1'"):
        model_folder(tmp_path, "model", bundled=tmp_path, hub=HubOptions(revision="v1"))


def test_a_name_that_no_repository_can_have_is_named() -> None:
    with pytest.raises(ValueError, match=r"'a/b/c' is neither a model folder nor a hub repository"):
        download("a/b/c", "model")


def test_a_mistyped_name_is_told_which_models_come_along(tmp_path: Path) -> None:
    for name in ("large", "mini"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"'a/b/c' is neither .* or one of large, mini$"):
        model_folder("a/b/c", "codec", bundled=tmp_path)


def test_the_card_of_a_codec_names_the_whisper_inside_it(codec: HHCodec) -> None:
    """Its weights are in the folder, and their licence asks for its notice."""
    assert "Whisper" not in codec_card(codec, "me/my-codec")
    values = codec.config.to_dict()
    values["encoder"] |= {"speech_layers": 2, "speech_dim": 16, "speech_heads": 2}
    card = codec_card(HHCodec(CodecConfig.from_dict(values)).eval(), "me/my-codec")
    assert "frozen Whisper encoder, 2 layers of 16" in card
    assert "Copyright (c) 2022 OpenAI, MIT licence" in card


def test_the_card_of_a_codec_shows_how_to_decode_with_its_voice(codec: HHCodec) -> None:
    assert "voice" not in codec_card(codec, "me/my-codec")
    voiced = voiced_codec()
    card = codec_card(voiced, "me/my-codec")
    assert "8 tokens out of 256 once a recording, 64 bits" in card
    assert str(voiced.voice_fingerprint) in card
    assert "codec.decode(codes, voice=codec.encode_voice(recording))" in card


def test_a_card_without_facts_has_no_table() -> None:
    card = card_text("name", "Words.", "code()", pipeline_tag="audio-to-audio", tags=["audio"])
    assert "|" not in card
    assert "```python\ncode()\n```" in card
