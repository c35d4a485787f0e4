"""Run directory > **card**: what a run has learnt, from what, how well, and how to cite it, for who uses it later."""
