"""TODO docstring of lfq_jax.config.model.checks."""


def check(condition: bool, name: str, value: object, rule: str) -> None:
    if not condition:
        raise ValueError(f"{name} must be {rule}, got {value}")
