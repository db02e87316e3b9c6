"""Every bound and time-out of the SSH adapter."""

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SSHSettings:
    """How nodes are reached.

    Attributes:
        client_key_paths: Private keys that hamgr logs in with; unencrypted and readable by their owner only.
        connect_timeout_s: For TCP and for the first byte of the node's greeting.
        login_timeout_s: From the greeting to the end of authentication.
        dial_timeout_s: How long a dial that meets a busy sshd (connections reset or closed before the
            login) is repeated, pauses included.
        command_timeout_s: For one verb, beyond what it was asked to wait.
        resume_timeout_s: How long a verb whose connection was lost in the middle tries to come back.
        keepalive_interval_s, keepalive_count_max: After an interval of silence the node is asked for a sign
            of life, and after one more than `keepalive_count_max` intervals the connection is given up.
        handshakes_max: Key exchanges at once; they cost processor time, silent nodes do not count.
        dials_max: Sockets at once that have not logged in yet.
        handshakes_per_target_max: At one address and port; sshd starts to drop at 10 (MaxStartups 10:30:100).
        start_interval_s: The least time between two dials to one address and port.
        idle_close_s: A connection without a command for this long is closed.
        connections_max: Beyond this, the connection that was idle longest makes room.
        greeting_bytes_max: The most that a node may send before the login has succeeded.
    """

    client_key_paths: tuple[Path, ...]
    connect_timeout_s: float = 10.0
    login_timeout_s: float = 15.0
    dial_timeout_s: float = 20.0
    command_timeout_s: float = 60.0
    resume_timeout_s: float = 20.0
    keepalive_interval_s: float = 10.0
    keepalive_count_max: int = 3
    handshakes_max: int = 50
    dials_max: int = 256
    handshakes_per_target_max: int = 8
    start_interval_s: float = 0.005
    idle_close_s: float = 600.0
    connections_max: int = 2_000
    greeting_bytes_max: int = 256 * 1024

    def within(self, deadline_s: float) -> "SSHSettings":
        """Return these, but for a node that may be silent for `deadline_s` at most, from its last byte on.

        Half of that is for noticing that a kept connection is dead, and half for coming back over another;
        what is shorter already stays as it is.
        """
        half_s = deadline_s / 2
        return replace(
            self,
            connect_timeout_s=min(self.connect_timeout_s, half_s),
            resume_timeout_s=min(self.resume_timeout_s, half_s),
            keepalive_interval_s=min(self.keepalive_interval_s, half_s / (self.keepalive_count_max + 1)),
        )
