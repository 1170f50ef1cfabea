"""The folder of finished shards: what it holds, who fills it, and what may go."""
