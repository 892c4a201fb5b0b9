"""Records that other machines made: packed there, checked and laid down here, compared by session."""
