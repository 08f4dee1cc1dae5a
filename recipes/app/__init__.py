"""A page in the browser: reconstruct a recording, speak a text, continue, compare."""
