"""Training of the speech language model: module, micro-batches, checkpoints, optimizers."""
