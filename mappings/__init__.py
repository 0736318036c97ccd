"""Declarative mappings as YAML rows and code tables, compiled to closures; pure, imports nothing of ours."""
