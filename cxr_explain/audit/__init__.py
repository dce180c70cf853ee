"""Audits of validation sets: a run that can be killed, its Parquet store, and its statistics."""
