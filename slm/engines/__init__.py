"""Inference engines: interchangeable ways to compute a step of generation.

`open_engine` of `slm.engines.engine` chooses one; all of them follow its protocol `Engine`.
"""
