"""The workloads W1 to W7: what is sent, and what must come back."""
