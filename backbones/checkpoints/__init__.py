"""Readers of foreign weights: MXNet, torch, InsightFace ONNX."""
