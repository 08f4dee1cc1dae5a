"""Encoding a corpus to codes: the plan, the engine of one machine, that of a Ray cluster."""
