"""Another machine for trees: the sshd of the hosts' tests."""

from tests.hosts.conftest import far, make_host, make_sshd, sshd

__all__ = ["far", "make_host", "make_sshd", "sshd"]
