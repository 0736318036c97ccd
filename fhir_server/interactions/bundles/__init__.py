"""Bundle in, Bundle out: what transaction, batch, search and history share."""
