"""Training in phases: forward pass, losses, discriminators, optimizers, data, validation.

`fit.fit_codec_phase` runs a phase, `module.CodecTraining` is its step, `config` its settings.
"""
