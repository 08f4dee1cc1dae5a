"""Commands under the names they had before they moved into rooms."""
