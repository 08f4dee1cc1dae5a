"""Trainings and codecs side by side: ablations, tokenizers, anchors."""
