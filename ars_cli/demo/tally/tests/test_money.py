import unittest

from tally import money


class TestMoney(unittest.TestCase):
    def test_amounts_are_read_in_cents(self) -> None:
        self.assertEqual([money.parse(text) for text in ("12", "12.5", "12.50", "0.05")], [1200, 1250, 1250, 5])

    def test_an_amount_is_shown_with_two_digits(self) -> None:
        self.assertEqual(money.show(1205), "12.05")

    def test_a_debt_is_shown_with_a_minus(self) -> None:
        self.assertEqual(money.show(-5), "-0.05")
        self.assertEqual(money.show(-1334), "-13.34")

    def test_amounts_are_added(self) -> None:
        self.assertEqual(money.add(["1.10", "2.20"]), 330)

    def test_shares_add_up_to_the_total(self) -> None:
        self.assertEqual(money.shares(1000, 4), [250, 250, 250, 250])
        self.assertEqual(money.shares(1000, 3), [334, 333, 333])


if __name__ == "__main__":
    unittest.main()
