"""Readers of the tables that data sets publish, one module each; `registry` has them by name."""
