"""Few-shot token classification, such as named-entity recognition."""
