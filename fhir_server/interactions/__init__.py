"""One file for each RESTful interaction of FHIR."""
