"""The language model under a taste model: backbones, adapters, and embeddings of texts."""
