"""What single vendors add to DICOMweb: a package each, known to main only."""
