"""Embeddings on disk, their FAISS index and an exact search; numpy only, no torch."""

from cryoembed.store.embeddings import EmbeddingStore
from cryoembed.store.key import StoreKey
from cryoembed.store.manifest import TomogramSource, describe_source

__all__ = ["EmbeddingStore", "StoreKey", "TomogramSource", "describe_source"]
