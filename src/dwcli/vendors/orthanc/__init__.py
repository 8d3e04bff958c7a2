"""Orthanc as a DICOMweb client: the REST interface by which its plugin talks to other servers."""
