"""Operating points and calibrations that are fitted on a part of an audit, and kept away from that part."""
