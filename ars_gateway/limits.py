"""The numbers that bound what a client can cost. One object, so that a test can shrink them."""

from dataclasses import dataclass

PROTOCOL = 3


@dataclass(frozen=True)
class Limits:
    """Bytes, counts and seconds."""

    hello_bytes: int = 64 * 1024  # of one frame, and of all that waits, until hello
    frame_bytes: int = 524_288  # `policy.maxPayload`
    queued_bytes: int = 1_572_864  # `policy.maxBufferedBytes`: events that wait for a client
    queued_frames: int = 1_000
    stalled_seconds: float = 30  # that a client may take nothing at all while something waits for it
    tick_seconds: float = 30  # `policy.tickIntervalMs`
    presence_seconds: float = 1.0  # changes of who is here are told at most this often: a thousand may come at once
    handshake_seconds: float = 10
    body_seconds: float = 30  # of a request whose sender has signed in
    reading_bytes: int = 128 * 1024 * 1024  # of bodies that are still coming in, all together
    # Of a request that was answered before it was whole: what may still come, and is let pass by.
    linger_bytes: int = 128 * 1024 * 1024
    linger_seconds: float = 10
    linger_silent_seconds: float = 2  # without a byte
    # Silent sockets before hello: `waiting_sockets` once they had `waiting_grace` seconds, as a whole office that
    # reconnects at once is no attack; and never more than `waiting_most`. The oldest goes first.
    waiting_sockets: int = 32
    waiting_grace: float = 1.0
    waiting_most: int = 512
    close_seconds: float = 5  # from our close frame to the end of the socket
    depth: int = 100  # of nested JSON
    calls: int = 1_000  # of one connection that wait for their answers
    unauthorised_calls: int = 20
    unauthorised_seconds: float = 10
    pings: int = 200  # in ten seconds
    kept_events: int = 10_000  # that a resume can replay, of all clients together
    kept_bytes: int = 8 * 1024 * 1024
    kept_seqs: int = 4_096  # that one connection can resume from
    kept_connections: int = 1_000  # closed ones
    kept_seconds: float = 300
    # Editors that have an agent of their own over the network.
    remote_connections: int = 16  # of one principal; each is a process
    remote_all: int = 64
    remote_message_bytes: int = 32 * 1024 * 1024
    remote_waiting_bytes: int = 4 * 1024 * 1024  # for an editor; then its agent is not read any more
    remote_kept_bytes: int = 8 * 1024 * 1024  # of what an editor was sent, to be asked for again
    remote_kept_seconds: float = 300
    remote_streams: int = 1_024  # of one connection
    remote_pending: int = 1_000  # requests of one editor's that its agent has not answered
    remote_start_seconds: float = 30  # that an agent has for its answer to initialize
    remote_stalled_seconds: float = 60  # that an editor, or its agent, may take nothing while something waits for it
    remote_idle_seconds: float = 300  # that an editor may have no stream open
    remote_linger_seconds: float = 30  # that the last messages of an agent wait for an editor that was cut off


LIMITS = Limits()
