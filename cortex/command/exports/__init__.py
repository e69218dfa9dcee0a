"""The commands under ``cortex export``, one module each."""
