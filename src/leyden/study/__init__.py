"""Config > **study** > train: many runs of one line; none is lost, none is done twice, every device is busy.

Read `plan.py` (which jobs), `record.py` (what is known of them), `loop.py` (who runs when), then an executor.
"""
