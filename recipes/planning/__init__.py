"""Time, memory and cost of a training before it is started."""
