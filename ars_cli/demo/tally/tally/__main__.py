"""`python3 -m tally FILE`"""

import sys

from tally.bill import Bill

if len(sys.argv) != 2:
    sys.exit(__doc__)
with open(sys.argv[1], encoding="utf-8") as file:
    print(Bill.read(file).report())
