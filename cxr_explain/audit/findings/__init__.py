"""What an audit found, in plain words, the most telling first."""
