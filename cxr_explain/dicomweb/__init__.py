"""A PACS over DICOMweb (PS3.18): queries, retrieval and storage."""
