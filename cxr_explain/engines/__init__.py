"""Engines that run a model's body: torch, which is the reference, ONNX Runtime, OpenVINO."""
