"""Mutation tests of the core: `parts.py` says what is changed and by which tests it is to be noticed."""
