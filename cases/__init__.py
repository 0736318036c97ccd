"""The second-opinion workflow on top of the FHIR server; case state is FHIR, there is no other."""
