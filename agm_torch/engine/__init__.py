"""How the records of a job are made: by one process, by several, or by Ray."""
