"""The symbolic interpreter and the passes between a traced program and its memory plan."""
