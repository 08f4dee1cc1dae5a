"""Folders in object storage: transfer by hand, and backup of a run while it works."""
