"""Speed beside other software as ratios, compared with committed results.

`parity` compares codes, speech and trainings before and after a re-structuring.
"""
