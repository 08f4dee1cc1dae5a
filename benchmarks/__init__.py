"""Speed as a contract: ours beside others in one run, and beside what was committed before."""
