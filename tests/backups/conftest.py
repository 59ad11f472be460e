"""Another machine for backups: the sshd of the hosts' tests."""

from tests.hosts.conftest import make_host, make_sshd, sshd

__all__ = ["make_host", "make_sshd", "sshd"]
