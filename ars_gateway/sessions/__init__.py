"""Which sessions there are, what they are called, and what has happened in them."""
