"""Where other systems' protocols meet FHIR."""
