"""What the machines' shells are told for a way straight between them (``_far_straight``).

Every text gets its values as words.  ``$1`` is the directory, which nobody else may enter, on a
file system in memory where there is one: the keys in it reach no disk.  Its name has no letter that
a shell, an sshd or an ssh takes for anything else.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ASK", "CALL", "GIVE", "HUSH", "KEEP", "LEFT", "LISTEN", "RECEIVE", "SEND", "SWEEP"]

_PLACES: Final = '/run "/run/user/$(id -u)" /dev/shm /tmp'
_SAFE: Final = "LC_ALL=C; export LC_ALL; umask 077; PATH=$PATH:/usr/sbin:/sbin\n"

_END: Final = r"""
end() {
    [ -S "$1/way" ] && timeout 5 ssh -F /dev/null -S "$1/way" -O exit x
    one=; [ -f "$1/sshd.pid" ] && read -r one <"$1/sshd.pid"
    for one in $one $(cat "$1/sessions"); do
        grep -q sshd "/proc/$one/cmdline" && kill "$one"
    done
    rm -rf -- "$1"
} >/dev/null 2>&1
"""
"""A function that ends what a directory's way consists of, and removes it.  A process is only ended
when it still is an sshd, for numbers are given again."""

KEEP: Final = (
    _SAFE
    + _END
    + rf"""
for d in {_PLACES} ''; do
    [ -n "$d" ] || exit 1
    if [ -w "$d" ] && mkdir -- "$d/$1" 2>/dev/null; then d=$d/$1; break; fi
done
trap 'end "$d"' EXIT; trap 'exit 1' HUP INT TERM PIPE
echo $$ >"$d/keeper"
mkfifo "$d/data" && ssh-keygen -q -t ed25519 -N '' -C '' -f "$d/key" >/dev/null || exit 1
dd if=/dev/null of=/dev/null status=progress 2>/dev/null || exit 1
: >"$d/ready"
while [ -n "$(timeout "$2" dd bs=1 count=1 2>/dev/null)" ]; do :; done
"""
)
"""$1 a name for the directory, $2 for how many seconds silence is borne.  Makes it with a key and a
pipe, and keeps it as long as a byte comes now and then; when its input ends, or nobody says
anything any more, everything goes."""

ASK: Final = (
    _SAFE
    + rf"""
n=0
while [ $n -lt 100 ]; do
    for d in {_PLACES}; do
        [ -O "$d/$1" ] && [ -e "$d/$1/ready" ] || continue
        printf '%s\n' "$d/$1"; id -un; cat "$d/$1/key.pub"; command -v sshd || echo none
        {{ set -- $SSH_CONNECTION; echo "$3"; hostname -I | tr ' ' '\n'; }} 2>/dev/null
        exit 0
    done
    sleep 0.1; n=$((n + 1))
done
echo "a key and a pipe could not be made" >&2; exit 1
"""
)
"""$1 the name.  Waits for the directory and says: itself, who we are, the public key, the program
sshd, and the machine's addresses, the one that we came to first."""

LISTEN: Final = (
    _SAFE
    + r"""
d=$1; port=$2; words=$3; key=$4; sshd=$5; shift 5
printf 'restrict,expiry-time="%s",command="%s" %s\n' "$(date -d '+5 minutes' +%Y%m%d%H%M)" \
    "$words" "$key" >"$d/allowed" || exit 1
{
    for one; do echo "ListenAddress $one"; done
    cat <<END
Port $port
HostKey $d/key
AuthorizedKeysFile $d/allowed
ForceCommand $words
AllowUsers $(id -un)
PidFile $d/sshd.pid
AuthenticationMethods publickey
PermitRootLogin forced-commands-only
UsePAM no
StrictModes no
DisableForwarding yes
PermitTTY no
PermitUserRC no
PrintMotd no
UseDNS no
LoginGraceTime 20
MaxStartups 10
ClientAliveInterval 5
ClientAliveCountMax 3
LogLevel ERROR
END
} >"$d/sshd.conf" || exit 1
rm -f "$d/sshd.pid"
"$sshd" -f "$d/sshd.conf" -E "$d/sshd.log" </dev/null >/dev/null 2>&1 ||
    { tail -n 1 "$d/sshd.log" >&2; exit 1; }
n=0
while [ ! -s "$d/sshd.pid" ]; do
    [ $n -lt 50 ] || { tail -n 1 "$d/sshd.log" >&2; exit 1; }
    sleep 0.1; n=$((n + 1))
done
"""
)
"""$1 the directory, $2 the port, $3 the only command, $4 the only key that is let in, $5 the sshd
program, then addresses.  StrictModes would mind that others may write to /tmp and /dev/shm, though
not to what is ours there.  PAM would open a session of the account, which nobody needs."""

CALL: Final = (
    _SAFE
    + r"""
d=$1; port=$2; user=$3; host_key=$4; shift 4
printf 'crossfade %s\n' "$host_key" >"$d/known" || exit 1
why="no address to try"
for one; do
    rm -f "$d/way"
    if ssh -F /dev/null -M -N -f -S "$d/way" -i "$d/key" -l "$user" -p "$port" \
        -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -o HostKeyAlias=crossfade \
        -o UserKnownHostsFile="$d/known" -o GlobalKnownHostsFile=/dev/null \
        -o StrictHostKeyChecking=yes -o PreferredAuthentications=publickey \
        -o ConnectTimeout="$CALL_SECONDS" -o ConnectionAttempts=1 \
        -o ServerAliveInterval=5 -o ServerAliveCountMax=3 -o ClearAllForwardings=yes \
        -o Ciphers=aes128-gcm@openssh.com,aes128-ctr,chacha20-poly1305@openssh.com \
        -o LogLevel=ERROR -- "$one" </dev/null >/dev/null 2>"$d/ssh.log"
    then exit 0; fi
    why=$(tail -n 1 "$d/ssh.log")
done
printf '%s\n' "$why" >&2; exit 1
"""
)
"""$1 the directory, $2 the port, $3 the account, $4 the host's public key, then addresses, of which
the first that answers is taken.  The connection stays."""

HUSH: Final = (
    _SAFE
    + r"""
read -r listener <"$1/sshd.pid" || exit 1
for stat in /proc/[0-9]*/stat; do
    read -r line <"$stat" || continue
    pid=${line%% *}; set -- "$1" ${line##*) }
    [ "$3" = "$listener" ] && echo "$pid"
done >"$1/sessions" 2>/dev/null
kill "$listener" && rm -f "$1/sshd.pid" "$1/allowed"
"""
)
"""$1 the directory.  The connection stands, so nobody needs to listen any more."""

_SSH: Final = (
    'ssh -F /dev/null -S "$d/way" -T -o BatchMode=yes -o ControlMaster=no '
    "-o ProxyCommand=false -o LogLevel=ERROR -- x x 2>/dev/null"
)
_COUNTED: Final = "dd bs=256k status=progress 2>&3 3>&- 4>&-"

SEND: Final = (
    _SAFE
    + rf"""
d=$1; shift; exec 3>&1
s=$({{
    {{ "$@" 3>&- 4>&-; echo "r$?" >&4; }} | {{ {_COUNTED}; echo "d$?" >&4; }} |
        {{ {_SSH} >/dev/null 3>&- 4>&-; echo "s$?" >&4; }}
}} 4>&1)
echo; echo end $s
case $s in *s0*) ;; *) exit 0;; esac
s=${{s##*r}}; exit "${{s%%[!0-9]*}}"
"""
)
"""$1 the directory, then a command, whose output goes to the other machine.  Says how far it is
and, in the end, the statuses: r the command's, d the counter's, s the connection's.  Its own is
that of the command, as long as the connection is not what failed."""

GIVE: Final = (
    _SAFE
    + rf"""
d=$1; shift; exec 3>&1
s=$({{
    {{ "$@" 3>&- 4>&-; echo "r$?" >&4; }} | {{ {_COUNTED} >"$d/data"; echo "d$?" >&4; }}
}} 4>&1)
echo; echo end $s
s=${{s##*r}}; exit "${{s%%[!0-9]*}}"
"""
)
"""The same, and the other machine fetches it."""

RECEIVE: Final = {
    "send": 'd=$1; shift; exec "$@" <"$d/data" >/dev/null',
    "give": _SAFE
    + rf"""
d=$1; shift
s=$({{
    {{ {_SSH} </dev/null 4>&-; echo "s$?" >&4; }} | {{ "$@" >/dev/null 4>&-; echo "w$?" >&4; }}
}} 4>&1)
echo; echo end $s
s=${{s##*w}}; exit "${{s%%[!0-9]*}}"
""",
}
"""$1 the directory, then a command, whose input comes from the other machine."""

LEFT: Final = (
    _SAFE
    + rf"""
for d in {_PLACES}; do for d in "$d/$1"-*; do
    [ -d "$d" ] && [ -O "$d" ] || continue
    one=; [ -f "$d/keeper" ] && read -r one <"$d/keeper"
    [ -n "$one" ] && grep -q "${{d##*/}}" "/proc/$one/cmdline" 2>/dev/null && continue
    printf '%s\n' "$d"
done; done
"""
)
"""$1 how names of ours begin.  Says the directories that nobody keeps."""

SWEEP: Final = _SAFE + _END + 'for one; do d=$one; end "$d"; done; :\n'
"""Directories that nobody keeps: ends what they are about, and removes them."""
