"""Scores of many recordings, their summaries, intervals and comparisons."""
