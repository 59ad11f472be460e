#!/bin/sh
# A provisioner as an operator writes one: makes or finds a machine by its name, and removes it.
set -eu
cd "$(dirname "$0")"
docker() { command docker -H "unix://$ENGINE" "$@"; }
inside() { docker exec --interactive "$CROSSFADE_MACHINE" "$@"; }
echo "$1 $CROSSFADE_MACHINE" >>provision.log
case $1 in
create)
    if ! docker inspect "$CROSSFADE_MACHINE" >/dev/null 2>&1; then
        docker run --detach --name "$CROSSFADE_MACHINE" --label crossfade.testbed=1 \
            --label "upgrade=$CROSSFADE_UPGRADE" --cap-add SYS_ADMIN \
            --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
            --volume /sys/fs/cgroup:/sys/fs/cgroup:rw \
            --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec "$IMAGE" >&2
    fi
    inside sh -c 'cat >/root/.ssh/authorized_keys' <"$KEY"
    inside sh -c 'id notes >&2 || useradd --system --user-group notes; mkdir -p /srv/notes'
    docker cp app2-wheel "$CROSSFADE_MACHINE:/srv/notes/" >&2
    echo "Apply complete!  The password is planted-secret-0815."
    address=$(docker inspect --format '{{.NetworkSettings.IPAddress}}' "$CROSSFADE_MACHINE")
    upgrade=$(docker inspect --format '{{.Config.Labels.upgrade}}' "$CROSSFADE_MACHINE")
    cat <<END
{
  "upgrade": {"value": "$upgrade", "sensitive": false},
  "address": "$address",
  "host_key": "$(inside cat /etc/ssh/ssh_host_ed25519_key.pub)",
  "password": "planted-secret-0815"
}
END
    ;;
destroy)
    name=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["name"])')
    [ -e lie ] || docker rm --force --volumes "$name" >&2
    ;;
esac
