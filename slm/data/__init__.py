"""From stored codes to packed batches: vocabulary, documents, token stores, datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.lazy_names import lazy_names

if TYPE_CHECKING:
    from .packed_dataset import PackedDataset
    from .token_store import TokenStore, TokenStoreWriter
    from .vocabulary import Vocabulary

__all__ = ["PackedDataset", "TokenStore", "TokenStoreWriter", "Vocabulary"]

_MODULE_OF = {
    "PackedDataset": ".packed_dataset",
    "TokenStore": ".token_store",
    "TokenStoreWriter": ".token_store",
    "Vocabulary": ".vocabulary",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
