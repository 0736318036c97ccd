"""Konsil and its peers on the same machine, the same PostgreSQL and the same requests."""
