"""Trained network > **evaluate** > pages: how good a run's network is, on which images, and how far to trust it."""
