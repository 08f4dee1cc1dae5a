"""Drawing codes token by token: sampling, stopping, retries, best of several."""
