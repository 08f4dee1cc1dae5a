"""Codecs in forms that run without this toolkit: ONNX files, and a page that decodes in a browser."""
