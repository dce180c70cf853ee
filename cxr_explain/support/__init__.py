"""What every room may use: whole files, locks, extras, tables, checked arrays, the torchvision repair."""
