"""The exporter: checkpoint -> ONNX bundle, checked against torch; doors to `dualtalker engine`."""
