"""The decoder for generation: exact, merged weights, CUDA graphs, compiled C++."""
