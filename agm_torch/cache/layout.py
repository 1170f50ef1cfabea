"""Names of the cache's unfinished, locked and removed folders."""

PARTIAL, LOCK, REMOVED = ".partial", ".lock", ".removed-"
"""Endings of the names of an unfinished folder and of a lock, and the beginning of the
name of a folder that is being removed."""
