"""The tables, once for every SQL database: counters, event rows, erased receipts, the ledger, notices.

Knows columns and indexes; refuses to know a dialect's SQL, which is in the store that speaks it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, String, Table, Text

__all__ = ["CHANGES", "SCHEMA_VERSION", "counts", "erased", "events", "ledger", "meta", "metadata", "notices"]

#: written into every database; a database with a higher one is not touched
SCHEMA_VERSION: Final = 3
#: what makes a database of the version before into one of this version
CHANGES: Final = {
    2: (
        "ALTER TABLE ledger ADD COLUMN subject TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE ledger ADD COLUMN detail TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX ledger_subject ON ledger (subject) WHERE subject <> ''",
    ),
    # And the receipts in the table of erased ones become hashes, which takes more than a statement: see sql.py.
    3: (
        "ALTER TABLE ledger ADD COLUMN salt TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE ledger ADD COLUMN sealed TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX ledger_previous ON ledger (previous) WHERE previous <> ''",
        "CREATE INDEX ledger_valid_until ON ledger (valid_until, seq) WHERE valid_until <> ''",
        "CREATE TABLE notices (id TEXT NOT NULL PRIMARY KEY, at TEXT NOT NULL, "
        "fingerprint TEXT NOT NULL, content TEXT NOT NULL)",
    ),
}

metadata = MetaData()

#: text that is looked up: compared byte by byte, so that neither a locale nor its next version changes the order
_KEY: Final = Text().with_variant(Text(collation="C"), "postgresql")

#: schema version, and number and hash of the ledger's last row
meta = Table("meta", metadata, Column("key", _KEY, primary_key=True), Column("value", Text, nullable=False))

#: no row here belongs to one visitor; the whole key is the primary key, so that adding is one look-up
counts = Table(
    "counts",
    metadata,
    Column("hour", BigInteger, primary_key=True),
    *(Column(name, _KEY, primary_key=True) for name in ("kind", "route", "status", "bot", "campaign", "tier", "why")),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    # Not the key that orders the table: coarse rows of one hour have random ids, and inserting a row of this
    # size in the middle costs four times as much as at the end.
    Column("id", String(36).with_variant(Text(collation="C"), "postgresql"), primary_key=True),
    Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("receipt", _KEY, nullable=False),
    Column("notice", Text, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("route", Text),
    Column("status", Integer),
    Column("bot", Text),
    Column("referrer_host", Text),
    Column("browser", Text),
    Column("os", Text),
    Column("device", Text),
    Column("language", Text),
    Column("region", Text),
    Column("ip", Text),
    Column("agent", Text),
    Column("accept_language", Text),
    Column("referrer", Text),
    Column("query", Text),
    Column("duration_ms", BigInteger),
    Column("method", Text),
    Column("host", Text),
    Column("campaign", Text),
    Column("link", Text),
    Column("recipient", Text),
    # An id begins with its time (UUIDv7), so a range of ids is a range of time, and the id alone is the key still.
    postgresql_partition_by="RANGE (id)",
)

# Each index costs a third of the speed of writing, so there is one: erasure must find a receipt's rows.
_own = events.c.receipt != ""
Index("events_receipt", events.c.receipt, sqlite_where=_own, postgresql_where=_own)
# This one costs next to nothing: it notes only the lowest and highest date of each megabyte.
Index("events_expires", events.c.expires, postgresql_using="brin").ddl_if(dialect="postgresql")

#: SHA-256 of receipts whose rows were erased, so that a row that was under way at that moment is not written after it
erased = Table(
    "erased",
    metadata,
    Column("receipt", _KEY, primary_key=True),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

ledger = Table(
    "ledger",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("receipt", _KEY, nullable=False, index=True),
    *(Column(name, Text, nullable=False) for name in ("at", "event", "method")),
    #: JSON lists of keys
    *(Column(name, Text, nullable=False) for name in ("granted", "refused")),
    *(Column(name, Text, nullable=False) for name in ("regime", "region", "region_source", "language")),
    Column("gpc", Boolean, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("notice", "shown", "fingerprint", "valid_until")),
    Column("previous", Text, nullable=False),
    Column("subject", _KEY, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("detail", "salt", "sealed", "prev_hash", "hash")),
)

_known = ledger.c.subject != ""
Index("ledger_subject", ledger.c.subject, sqlite_where=_known, postgresql_where=_known)
# Who erases looks both ways along the receipts of a visitor.
_later = ledger.c.previous != ""
Index("ledger_previous", ledger.c.previous, sqlite_where=_later, postgresql_where=_later)
_ends = ledger.c.valid_until != ""
Index("ledger_valid_until", ledger.c.valid_until, ledger.c.seq, sqlite_where=_ends, postgresql_where=_ends)

#: versions of the privacy notice; a row is never changed
notices = Table(
    "notices",
    metadata,
    Column("id", _KEY, primary_key=True),
    *(Column(name, Text, nullable=False) for name in ("at", "fingerprint", "content")),
)
