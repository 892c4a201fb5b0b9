"""Face-offs on other machines, by engines that are there: Slurm, Kaggle, Colab, SkyPilot, Kubernetes.

Every engine starts reach/session.py in a checkout over there; what comes back is a pack, for stages.collect.
"""
