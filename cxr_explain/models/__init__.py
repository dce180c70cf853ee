"""Classifiers that can be explained: one interface, and adapters for the models people have."""
