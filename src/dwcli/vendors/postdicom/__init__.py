"""PostDICOM's verbs beyond DICOMweb: `dw share`, `dw folder` and `dw order`, on profiles of its dialect."""
