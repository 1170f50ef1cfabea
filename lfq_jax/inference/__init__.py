"""A trained detector applied to photographs."""
