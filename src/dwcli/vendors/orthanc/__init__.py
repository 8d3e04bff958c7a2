"""Orthanc as a DICOMweb client: the REST interface through which its plugin accesses other servers."""
