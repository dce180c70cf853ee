"""Other libraries' own words for the one path; each is imported only when it is asked for."""
