"""The converter: checkpoint -> ONNX bundle (-> TensorRT), with checks. Runs from the checkout."""
