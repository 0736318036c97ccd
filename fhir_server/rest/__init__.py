"""The HTTP edge: route table, negotiation, one error renderer."""
