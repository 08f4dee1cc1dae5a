"""Metrics, protocols for what is measured, and reports; of `codec` only its ground modules."""
