"""Speed, arithmetic and memory of codecs side by side."""
