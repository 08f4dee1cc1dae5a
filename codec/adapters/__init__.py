"""The codec in the shapes of other libraries."""
