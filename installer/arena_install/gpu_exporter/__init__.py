"""Runs on GPU nodes, in an image of its own: the standard library and nvidia-ml-py are all that is there.

Its modules lie side by side in that image (with verify/payloads/podresources.py), as the payloads of checks do.
"""
