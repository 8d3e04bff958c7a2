"""The DICOMweb protocol (PS3.18) without I/O: bytes and values in, values and bytes out."""
