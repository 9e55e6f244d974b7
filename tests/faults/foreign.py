"""Who is not ours: values of Origin and Host with which nobody is let in, and what strangers may say."""

# What steers a terminal or turns the direction of a text, within words that only strangers say.
CONTROLS = [
    *map(chr, range(32)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
]


def origins(port: int) -> list[str]:
    """Twenty origins of pages that are not the gateway's, which listens on `port`."""
    return [
        *("null", "https://evil.example", "http://evil.example", "file://", "http://localhost", "https://localhost"),
        *(f"https://localhost:{port}", f"https://127.0.0.1:{port}", f"http://127.0.0.1:{port}/", "http://[::1]"),
        *(f"http://localhost.evil.example:{port}", f"http://127.0.0.1.nip.io:{port}", "http://127.0.0.1:1", "*"),
        *(f"http://localhost:{port}@evil.example", f"http://127.0.0.2:{port}", f"http://0.0.0.0:{port}"),
        *("chrome-extension://abcdefgh", f"http://localhost:{port} http://evil.example", f"ws://localhost:{port}"),
    ]


def hosts(port: int) -> list[str]:
    """Twenty names under which the gateway is not reached, though it may be there."""
    return [
        *("evil.example", f"evil.example:{port}", "localhost", "127.0.0.1", "[::1]", f"localhost.:{port}", "*"),
        *(f"127.0.0.1.nip.io:{port}", f"localhost.evil.example:{port}", f"0.0.0.0:{port}", f"127.1:{port}"),
        *(f"2130706433:{port}", f"[::ffff:127.0.0.1]:{port}", f"::1:{port}", f"127.0.0.2:{port}", "localhost:0"),
        *(f"localhost:{port}1", f"localhost:{port},evil.example", f"user@localhost:{port}", f"localhost:{port}/x"),
    ]
