"""Training: data, batches, the loop, what hooks into it, and the files that a run leaves."""
