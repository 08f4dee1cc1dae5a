"""Time, memory and cost of a training before it is started.

Arithmetic of language model and codec, calibration on the device at hand, a check by real runs.
"""
