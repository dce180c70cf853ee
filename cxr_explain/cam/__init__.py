"""Class activation maps: one family a file, and their fusion."""
