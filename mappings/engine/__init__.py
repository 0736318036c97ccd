"""The mapping engine: rows, conditions, layers, grammar and plan, compiled once to closures; knows no adapter."""
