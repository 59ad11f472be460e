"""The benchmark's way of growing a Synapse: clones are whole, and nobody else's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks._growth import grow

ROOM = "!abcdefghijklmnopqr:demo.example"
FIRST, SECOND = "$" + "aB3_" * 10 + "xyz", "$" + "zY-9" * 10 + "QRS"
MEDIA = "AbCdEfGhIjKlMnOpQrStUvWx"
TABLES = """
create table events (stream_ordering integer primary key, event_id text unique, room_id text);
create table event_json (event_id text unique, json text);
create table event_edges (event_id text, prev_event_id text);
create table state_groups (id integer primary key, room_id text, event_id text);
create table event_to_state_groups (event_id text unique, state_group integer);
create table event_auth_chains (event_id text primary key, chain_id integer);
create table current_state_delta_stream (stream_id integer, room_id text, event_id text);
create table profiles (user_id text unique);
create table local_media_repository (media_id text unique, media_length integer);
create table event_push_summary_stream_ordering (stream_ordering integer);
create table room_forgetter_stream_pos (stream_id integer);
create table stats_incremental_position (stream_id integer);
create table user_directory_stream_pos (stream_id integer);
"""


def site(data: Path) -> Path:
    """A small Synapse's data: one room of two events, the second after the first; one file."""
    with closing(sqlite3.connect(data / "homeserver.db")) as db:
        db.executescript(TABLES)
        for number, event in enumerate((FIRST, SECOND), start=1):
            db.execute("insert into events values (?, ?, ?)", (number, event, ROOM))
            text = f'{{"room_id":"{ROOM}","prev_events":["{FIRST}"],"body":"at $5 !"}}'
            db.execute("insert into event_json values (?, ?)", (event, text))
            db.execute("insert into state_groups values (?, ?, ?)", (number, ROOM, event))
            db.execute("insert into event_to_state_groups values (?, ?)", (event, number))
            db.execute("insert into event_auth_chains values (?, ?)", (event, number))
        db.execute("insert into event_edges values (?, ?)", (SECOND, FIRST))
        db.execute("insert into current_state_delta_stream values (1, ?, ?)", (ROOM, FIRST))
        db.execute("insert into profiles values ('alice')")
        db.execute("insert into local_media_repository values (?, 3)", (MEDIA,))
        db.execute("insert into room_forgetter_stream_pos values (2)")
        db.commit()
    stored = data / "media_store" / "local_content" / MEDIA[:2] / MEDIA[2:4] / MEDIA[4:]
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"abc")
    return data


def test_clones_are_whole_and_apart(tmp_path: Path) -> None:
    """Every clone has its own ids, the same ones in every table and in the JSON."""
    data = site(tmp_path)
    grow(data, rooms=5, media=3)
    with closing(sqlite3.connect(data / "homeserver.db")) as db:
        events = db.execute("select event_id, room_id from events order by 1").fetchall()
        assert len(events) == len({event for event, _ in events}) == 10
        assert len({room for _, room in events}) == 5
        edges = db.execute(
            "select one.room_id, two.room_id, json from event_edges"
            " join events one on one.event_id = event_edges.event_id"
            " join events two on two.event_id = prev_event_id"
            " join event_json on event_json.event_id = event_edges.event_id"
        ).fetchall()
        assert len(edges) == 5, "the second event of every clone follows its own first"
        for room, before, text in edges:
            assert room == before
            assert f'"room_id":"{room}"' in text
            assert text.endswith('"body":"at $5 !"}'), "what is no id stays"
        groups = db.execute(
            "select count(*) from event_to_state_groups m join state_groups g"
            " on g.id = m.state_group and g.event_id = m.event_id"
        ).fetchone()
        assert groups == (10,), "every event has the state group of its own clone"
        assert db.execute("select count(*) from profiles").fetchone() == (1,)
        last = db.execute("select max(stream_ordering) from events").fetchone()
        assert db.execute("select * from room_forgetter_stream_pos").fetchone() == last
        media = [row[0] for row in db.execute("select media_id from local_media_repository")]
    assert len({*media}) == 3
    for name in media:
        stored = data / "media_store" / "local_content" / name[:2] / name[2:4] / name[4:]
        assert stored.stat().st_size == 3
