"""A classifier from a practitioner's own pictures: selection, calibration, prediction, extension, removal."""
