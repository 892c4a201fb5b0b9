"""How faceoff's own processes are stopped, kept apart and watched."""
