"""What a run's network says of images, over HTTP; begin with command.py."""
