"""Study > report > **dashboard** > W&B: a study's workspace and report there, as code, and its sweep for W&B's agent.

Read in this order: subject.py (what is known of the study), text.py, panels.py and layout.py (what is sent), remote.py
and write.py (how); command.py asks for it, sweep.py stands beside them. library.py says what W&B's own library needs.
"""
