"""Distillation: teachers, their cached features on the codec's frames, and losses towards them.

`loss.Distillation` is the semantic loss of latents, `perceptual` that of the decoder's log-mels.
"""
