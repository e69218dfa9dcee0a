"""The commands under ``cortex import``, one module each."""
