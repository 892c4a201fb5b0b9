"""Says from repeated figures what differs, and how sure that is."""
