"""Layers that know no codec: attention, convolutional blocks, those of Vocos, folded weights.

Nothing here reads a config.
"""
