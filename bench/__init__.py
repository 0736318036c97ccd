"""Reproducible workloads against Konsil, with the machine's own limits measured beside them in the same run."""
