"""HL7 v2 → FHIR: rows shaped like the v2-to-FHIR guide, code tables, and the named functions the rows refer to."""
