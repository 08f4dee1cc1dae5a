"""Export of models for the package, and figures and pictures of their cards.

The recordings and the report of the demo are here, too.
"""
