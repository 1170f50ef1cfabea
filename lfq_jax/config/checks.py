"""One line for a config field that breaks its rule."""


def check(condition: bool, name: str, value: object, rule: str) -> None:
    """Refuse a config field.

    Raises:
      ValueError: where `condition` is false; names the field, its value and the rule.
    """
    if not condition:
        raise ValueError(f"{name} must be {rule}, got {value}")
