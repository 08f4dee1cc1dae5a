"""Commands that keep runs in object storage."""
