"""Sessions as jobs of a Slurm that is there: one job a session, and packs come back by the folder that nodes share."""
