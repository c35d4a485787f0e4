"""Trained network > **export**: a run's network as one file or directory that needs nothing of Leyden, and back."""
