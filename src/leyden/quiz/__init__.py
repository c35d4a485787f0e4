"""Command line > **quiz** > terminal, notebooks: questions of the course, half of them answered by running something.

`from leyden.quiz import show; show(3)` lists a chapter in a notebook, with its answers folded.
"""

from leyden.quiz.listing import show

__all__ = ["show"]
