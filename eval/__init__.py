"""Metrics, protocols for what is measured, and reports; imports neither `codec` nor `slm`."""
