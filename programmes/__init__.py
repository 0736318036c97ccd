"""Programme definitions as FHIR bundles."""
