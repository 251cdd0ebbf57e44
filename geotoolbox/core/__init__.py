"""What every part of the engine shares: classes, bands, queries, events and safe files."""
