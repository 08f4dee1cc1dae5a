"""The codec as a whole, beside its networks: inputs, levels, precision, fingerprint and card."""
