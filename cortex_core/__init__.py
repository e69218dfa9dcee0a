"""What to compute: the language, its two interpreters, layers, descriptions, training."""
