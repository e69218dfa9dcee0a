"""The commands under ``cortex visualize``, one module each."""
