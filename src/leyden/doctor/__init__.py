"""Data > **doctor** > doctor.html, doctor.json: what is wrong with a data set, and what to set against it.

Read in this order: facts.py (what is looked at of each image), duplicates.py, findings.py (what follows from it),
speed.py, label_errors.py, page.py and examine.py, the two commands; quick.py comes before a first training.
"""
