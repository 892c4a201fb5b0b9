"""Notes when a training took its batches, ran backward and stepped its optimisers. See sitecustomize.py beside it."""
