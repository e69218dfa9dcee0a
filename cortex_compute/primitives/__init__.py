"""The vocabulary: frozen dataclasses that state operands, shapes, cost and views.  One module per family."""
