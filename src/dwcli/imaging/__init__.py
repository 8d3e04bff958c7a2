"""Pixels to images: one frame of a DICOM instance becomes a PNG or JPEG.

pydicom, numpy and pillow are imported inside functions only, so that importing this package costs nothing.
"""
