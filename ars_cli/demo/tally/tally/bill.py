"""What everybody paid, and what that means for each of them."""

from collections.abc import Iterable

from tally import money


class Bill:
    """Who has paid how much, in the order of the first payment."""

    def __init__(self) -> None:
        self.paid: dict[str, int] = {}

    @classmethod
    def read(cls, lines: Iterable[str]) -> "Bill":
        """A bill from lines of a name and an amount."""
        bill = cls()
        for line in lines:
            if line.strip():
                name, _, amount = line.strip().rpartition(" ")
                bill.pay(name, money.parse(amount))
        return bill

    def pay(self, name: str, cents: int) -> None:
        """Notes that `name` has paid, nothing perhaps."""
        self.paid[name] = self.paid.get(name, 0) + cents

    def total(self) -> int:
        """What everybody paid together."""
        return sum(self.paid.values())

    def balances(self) -> dict[str, int]:
        """What each gets back, or owes where it is negative."""
        share = self.total() // len(self.paid)
        return {name: cents - share for name, cents in self.paid.items()}

    def report(self) -> str:
        """A line for each person."""
        width = max(map(len, self.paid), default=0)
        return "\n".join(f"{name:<{width}} {money.show(cents):>8}" for name, cents in self.balances().items())
