"""Run directories > **report** > report.html, report.md, report.json: which setting is better, and how sure are we.

Read in this order: model.py (what a report holds), collect.py, settings.py, effects.py, curves.py, labels.py,
findings.py, page.py, markdown.py and write.py. statistics.py says how sure; words.py and tables.py how it reads;
compare.py stands beside them.
"""
