"""Readers of the tables that data sets publish, a module for each; `registry` has them by name."""
