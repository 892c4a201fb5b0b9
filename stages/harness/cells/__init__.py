"""How a cell is run: its attempts, what failures mean, and when its checkpoint goes."""
