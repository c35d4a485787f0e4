"""Run directories > **report** > report.html, report.md, report.json: which setting is better, and how sure are we.

Read in this order: model.py (what a report holds), collect.py, settings.py, effects.py, curves.py, findings.py, page.py
and write.py; compare.py stands beside them.
"""
