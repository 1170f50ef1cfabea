"""One line for a config field that breaks its rule."""

import math


def check(condition: bool, name: str, value: object, rule: str) -> None:
    """Refuse a config field.

    Raises:
      ValueError: where `condition` is false; names the field, its value and the rule.
    """
    if not condition:
        raise ValueError(f"{name} must be {rule}, got {value}")


def check_finite(name: str, value: float) -> None:
    """Refuse a number that is negative, infinite or NaN.

    Raises:
      ValueError: names the field, its value and the rule.
    """
    check(value >= 0 and math.isfinite(value), name, value, "at least 0 and finite")
