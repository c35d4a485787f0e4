"""Pages in a real browser: which one, and the sizes of its window."""

from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
SIZES = {"desktop": {"width": 1100, "height": 900}, "phone": {"width": 390, "height": 844}}
needs_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")
