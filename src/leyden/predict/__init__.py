"""A table of what a run's network says of many images; begin with command.py."""
