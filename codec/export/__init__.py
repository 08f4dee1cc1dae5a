"""Codecs in forms that run without this toolkit: ONNX files and a web page."""
