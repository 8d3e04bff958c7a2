"""A local folder served over DICOMweb: one WSGI application over SQLite and plain files."""
