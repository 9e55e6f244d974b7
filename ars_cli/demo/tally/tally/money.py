"""Amounts of money, as whole cents."""


def parse(text: str) -> int:
    """The cents in an amount such as `12`, `12.5` or `12.50`."""
    whole, _, part = text.strip().partition(".")
    if not whole.isdigit() or len(part) > 2 or not (part or "0").isdigit():
        raise ValueError(f"not an amount: {text!r}")
    return int(whole) * 100 + int(part.ljust(2, "0"))


def show(cents: int) -> str:
    """The amount with two digits after the point."""
    return f"{cents // 100}.{cents % 100:02d}"


def add(amounts: list[str]) -> int:
    """The sum of amounts as people write them."""
    return sum(parse(amount) for amount in amounts)


def shares(total: int, count: int) -> list[int]:
    """`total` split into `count` parts."""
    if count < 1:
        raise ValueError("nobody to share with")
    return [total // count] * count
