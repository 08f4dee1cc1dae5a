"""Corpora: loading, preparing, downloading and importing recordings with transcripts."""
