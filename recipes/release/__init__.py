"""Export of models for the package, their model cards, the report of the demo."""
