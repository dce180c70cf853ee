"""Table 3 of the FM-G-CAM paper (arXiv 2312.05975) on photographs, with the classes that were meant."""
