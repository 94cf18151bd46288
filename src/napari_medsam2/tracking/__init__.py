"""Propagating objects along the frames of a volume, over cached embeddings."""
