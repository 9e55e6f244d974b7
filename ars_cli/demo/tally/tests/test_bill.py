import unittest

from tally.bill import Bill


class TestBill(unittest.TestCase):
    def test_payments_of_one_person_add_up(self) -> None:
        bill = Bill.read(["Ada 10.00\n", "\n", "Ada 2.50\n"])
        self.assertEqual(bill.paid, {"Ada": 1250})

    def test_balances_add_up_to_nothing(self) -> None:
        bill = Bill.read(["Ada 40.00", "Ben 0", "Cleo 0"])
        self.assertEqual(sum(bill.balances().values()), 0)

    def test_whoever_paid_gets_it_back(self) -> None:
        bill = Bill.read(["Ada 30", "Ben 0", "Cleo 0"])
        self.assertEqual(bill.balances(), {"Ada": 2000, "Ben": -1000, "Cleo": -1000})


if __name__ == "__main__":
    unittest.main()
