"""Keras models: read, translated, and proved layer by layer."""
