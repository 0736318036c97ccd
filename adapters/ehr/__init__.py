"""FHIR client to EHRs."""
