"""Encoding a corpus to codes: the plan, one machine, a cluster."""
