"""From a token to a Subject."""
