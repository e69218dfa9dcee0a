"""ONNX models: read, and turned into descriptions with weights."""
