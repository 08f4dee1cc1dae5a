"""Recognisers of speech: Whisper in two forms of its weights, and pocketsphinx, which needs none.

Long recordings go through them in windows that end in pauses.
"""
