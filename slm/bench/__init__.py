"""Speed of generation and training beside other implementations."""
