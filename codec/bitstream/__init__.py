"""The .hhc format: written, read, salvaged and verified, one recording or a folder tree."""
