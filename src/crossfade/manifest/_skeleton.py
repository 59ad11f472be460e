"""The manifest that ``crossfade init`` writes: every key, explained."""

__all__ = ["skeleton"]

_TEXT = """\
# One upgrade of one application.  Every key is explained in docs/reference/manifest.md;
# `crossfade schema` prints a JSON Schema for your editor.
application: {application}         # a recipe of Crossfade, or the path of a recipe file
state: .crossfade            # journal, backups and reports are kept here

old:                         # what serves now; it is not touched before the cutover
  version: "1.0"
  root: /opt/{application}-1.0     # the program
  config: /etc/{application}       # its configuration (default: data)
  data: /var/lib/{application}     # its databases and uploads
  address: 127.0.0.1:8001    # where it listens
  # service:
  #   environment: {{NAME: value, SECRET: "file:secrets/name"}}   # secrets only by reference
  #   log: /var/log/{application}.log
  #   pid_file: /run/{application}.pid

new:                         # made by Crossfade; nothing may stand here yet
  version: "2.0"
  root: /opt/{application}-2.0
  config: /etc/{application}-2.0
  data: /var/lib/{application}-2.0
  address: 127.0.0.1:8002
  rehearsal:
    address: 127.0.0.1:8003  # where the rehearsal's copy listens

traffic:
  listen: 127.0.0.1:8000     # where your users, or your proxy, come in

limits:
  max_pause: 60              # the longest pause that you accept, in seconds
  watch: 10                  # how long to watch after the switch, in seconds

# watch:                     # when the new side is too bad to stay on; then the cutover goes back
#   error_rate: 5            # so much more of the requests may go wrong than before, in percent
#   latency: 5               # so many times as long may 95 % of the answers take

# backup:                    # of the old side, kept by every cutover and proven by restoring it
#   place: /srv/backups      # default: backups in the state directory
#   keep: 3                  # of how many upgrades

# checks:                    # yours, besides the recipe's; asked in every rehearsal and cutover
#   - {{name: a page that must work, path: /some/page, status: 200, contains: some text}}
#   - {{name: my script, command: [./check.sh, "{{address}}"]}}
"""


def skeleton(application: str) -> str:
    """The text of a new crossfade.yaml for an application."""
    return _TEXT.format(application=application)
