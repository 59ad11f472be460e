"""PostgreSQL 12 to 18: copied from one snapshot, followed by its own logical replication."""
