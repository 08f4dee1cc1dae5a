"""Semantic distillation: teachers, their cached features, and the loss towards them."""
