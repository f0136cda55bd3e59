"""What is shipped: ONNX export, parity gates, quantisation, the bundle."""
