"""Studies > **lesson** > lesson.html: the claims of an introduction to deep learning, each beside what was measured.

Read claims.py first, then verdict.py, study_effects.py, measurements.py, command.py and page.py.
"""
