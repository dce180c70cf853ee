"""Explanations as DICOM objects, for a PACS and its viewers."""
