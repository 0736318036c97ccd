"""DICOMweb client and server, pull jobs and blob storage."""
