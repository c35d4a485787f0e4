"""What of an image a run's network answers by, and how it sees all of them; begin with command.py."""
