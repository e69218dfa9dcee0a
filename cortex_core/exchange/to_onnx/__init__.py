"""Networks written as ONNX: traced, said in primitives that ONNX has, and translated one by one."""
