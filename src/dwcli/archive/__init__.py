"""A local folder that answers DICOMweb: one WSGI application over SQLite and plain files."""
