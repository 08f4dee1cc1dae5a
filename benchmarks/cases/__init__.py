"""What is measured, one subject a file, and the registry of all."""
