"""Runs directory > **live** > a page in the browser: all runs and studies, while they train.

Read in this order: files.py (what may be read), metrics.py (a metrics.csv that grows), runs.py (the list), details.py
(one run), access.py (who is answered), server.py; then page.html, page.js, table.js, curves.js and details.js, which
the browser runs as they are.
"""

from leyden.live.server import serve

__all__ = ["serve"]
