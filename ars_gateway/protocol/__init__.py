"""The protocol's frames, the parameters of every method, as data, and what holds a request against them."""
