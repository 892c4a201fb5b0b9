"""What a machine and an image look like, read from the kernel's files and from the NVIDIA driver.

Every reader takes the folder that holds `proc`, `sys` and `etc` (normally ROOT), so that a recorded tree can be read.
"""
