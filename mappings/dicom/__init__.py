"""DICOM headers to FHIR resources: rows in YAML, code tables in CSV, a small engine."""
