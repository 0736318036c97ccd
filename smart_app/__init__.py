"""The web app: server-rendered pages, a plain client of the FHIR API."""
