"""Codes of languages, as manifests and callers spell them."""

from __future__ import annotations

import re

# ISO 639-1.
_TWO_LETTERS = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da
de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz
ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln
lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi
pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th
ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
# A language, its script, a country and variants (BCP 47); manifests part them by "_", too.
_TAG = re.compile(r"([a-z]{2,3}|english)([-_][a-z0-9]{1,8})*", re.IGNORECASE)


def language_code(text: str) -> str:
    """Check the language that a caller names, which decides how a text is spoken.

    What is no code would be taken for another language than English, and its numbers left as they
    are.

    Args:
        text: A code of two letters (ISO 639-1) or three, such as "en", "en-GB" or "de_AT"; or
            "english".

    Returns:
        The same.

    Raises:
        ValueError: It is none.
    """
    found = _TAG.fullmatch(text)
    if found is None or (len(found[1]) == 2 and found[1].lower() not in _TWO_LETTERS.split()):
        raise ValueError(f"expected the code of a language, such as en, en-GB or de, got {text!r}")
    return text
