"""`dw`: a command-line DICOMweb client that tells the truth about what happened."""

__version__ = "0.1.0"
