"""Errors, resource JSON, references, Subject and scopes, search query parsing, validation: no I/O."""
