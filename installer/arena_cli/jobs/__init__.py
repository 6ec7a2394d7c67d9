"""Kinds of jobs: a file each with its flags and the values they become. kinds.py is the table of all."""
