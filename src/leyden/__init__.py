"""Leyden trains image classifiers; read `train.py` first, then `classifier.py`."""

__version__ = "0.1.0"
