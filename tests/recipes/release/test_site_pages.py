"""Pages and links of the documentation site."""

from __future__ import annotations

import pytest

pytest.importorskip("mkdocs")

from recipes.release.site_pages import CARDS, package_page, resolved


def test_links_out_of_docs_lead_to_pages_of_the_site_or_to_the_host() -> None:
    page, source = "reference/models.md", "docs/reference/models.md"
    card = "[card](../../codec/pretrained/hh-mini-24k/README.md)"
    assert resolved(card, page, source, "") == "[card](../models/hh-mini-24k.md)"
    book = "[book](../../notebooks/codec.ipynb)"
    assert resolved(book, page, source, "") == "book (`notebooks/codec.ipynb`)"
    hosted = "[book](https://example.org/x/blob/main/notebooks/codec.ipynb)"
    assert resolved(book, page, source, "https://example.org/x/") == hosted
    inside = "[plan](../guides/plan.md#the-codec) `[a](b.md)` [web](https://example.org)"
    assert resolved(inside, page, source, "") == inside


def test_pictures_of_a_card_come_along() -> None:
    page = "models/hh-mini-24k.md"
    shown = resolved("![mels](mels.png)", page, CARDS[page], "")
    assert shown == "![mels](hh-mini-24k/mels.png)"


def test_reference_pages_name_where_public_names_are_defined() -> None:
    assert "::: codec.model.hh_codec.HHCodec\n" in package_page("codec", "Codec")
