"""Services of long work: processes, workers, locks, Lightning's trainer, checkpoints."""
