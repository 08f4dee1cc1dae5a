"""What is shipped: models, model cards, the demo report."""
