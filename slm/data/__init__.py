"""From stored codes to packed batches: vocabulary, documents, token stores, datasets."""
