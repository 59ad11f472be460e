"""MariaDB (tested with 10.11) and MySQL: one database of a server, copied, followed and fenced.

connect     sessions, quoting, errors           catalog    what stands in a database
rows        rows as lines between two servers   digests    whole tables and rows by their keys
snapshot    many sessions in one moment         copying    the rows of that moment
schema      definitions on the new side         accounts   users and their grants
binlog      reads the old side's changes        images     keys out of changed rows
fence       LOCK TABLES ... READ                kept_fence the triggers that follow it

Facts that were tried here (10.11.19) and that the rest is built on:

- ``START TRANSACTION WITH CONSISTENT SNAPSHOT`` tells its exact place in the binary log by SHOW
  STATUS LIKE 'binlog_snapshot%'; four sessions stood at one place after three tries at 150
  commits a second.  CHECKSUM TABLE reads inside the snapshot and ends no transaction.
- ``LOCK TABLES t READ`` stops every write, TRUNCATE and DDL on t, root's too, MyISAM's too; it
  does not stop NEXTVAL of a sequence (lock those WRITE), CREATE TABLE, or CREATE OR REPLACE VIEW.
- A pending CREATE TRIGGER is granted before writers that have been waiting for longer, so the
  fence can become triggers without a moment in which it is open.
- replicate_do_db and its like are forgotten when the server restarts, while a replication
  connection starts by itself: it then applies every database's changes.
- Rows that a foreign key deletes or changes by itself are not in the binary log.
- mydumper 0.10 and mariadb-dump print a FLOAT with six digits: the copy differs.
"""
