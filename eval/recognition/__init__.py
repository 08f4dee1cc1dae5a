"""Recognisers of speech: Whisper in two forms of its weights, Moonshine, and pocketsphinx.

Long recordings go through them in windows that end in pauses.
"""
