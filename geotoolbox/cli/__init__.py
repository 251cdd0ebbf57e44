"""The command line: one command a job, made from its spec."""

from geotoolbox.cli.main import main

__all__ = ["main"]
