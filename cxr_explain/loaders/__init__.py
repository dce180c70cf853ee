"""Readers: from a file, by its content, to a Radiograph."""
