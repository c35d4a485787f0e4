"""Command line > **new**: a small project of the user's own, written from a template."""
