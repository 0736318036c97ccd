"""A general FHIR R4 server; it knows nothing of second opinions."""
