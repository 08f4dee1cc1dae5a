"""Training in phases: forward pass, losses, discriminators, data, checkpoints, validation."""
