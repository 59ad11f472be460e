"""kill -9 at every named crash point; then the same command again."""
