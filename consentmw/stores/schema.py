"""The tables, once for every SQL database: counters, event rows, visitors a day, the ledger, notices.

Knows columns and indexes; refuses to know a dialect's SQL, which is in the store that speaks it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, Table, Text

__all__ = [
    "CHANGES",
    "MOVED",
    "SCHEMA_VERSION",
    "batches",
    "contexts",
    "counts",
    "erased",
    "events",
    "ledger",
    "marks",
    "meta",
    "metadata",
    "notices",
    "rollups",
    "salts",
    "uniques",
]

_ALIKE: Final = "tier, receipt, notice, bot, browser, os, device, language, region, ip, agent, accept_language, host"
_APART: Final = "route, status, referrer_host, referrer, query, duration_ms, method, campaign, link, recipient"

#: written into every database; a database with a higher one is not touched
SCHEMA_VERSION: Final = 4
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
    # Rows before: the contexts are taken out of them. After it, the tables of this version are made.
    4: ("ALTER TABLE events RENAME TO events_3", "DROP INDEX events_receipt"),
}
_E: Final = ", ".join(f"e.{name}" for name in _APART.split(", "))
_SAME: Final = " AND ".join(f"c.{name} IS NOT DISTINCT FROM e.{name}" for name in _ALIKE.split(", "))
#: brings the rows of version 3 into the tables of version 4
MOVED: Final = (
    f"INSERT INTO contexts (digest, made, {_ALIKE}) SELECT 'version 3, ' || min(id), 0, {_ALIKE} "  # noqa: S608
    f"FROM events_3 GROUP BY {_ALIKE}",
    f"INSERT INTO events (at, kind, expires, context, {_APART}) "  # noqa: S608
    f"SELECT e.at, e.kind, e.expires, c.id, {_E} FROM events_3 e JOIN contexts c ON {_SAME} ORDER BY e.id",
    "DROP TABLE events_3",
)

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

#: what the rows of one visitor under one choice have alike, once: a row of its own is a quarter as long for it
contexts = Table(
    "contexts",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    #: of the columns below, so that a context is found again
    Column("digest", _KEY, nullable=False, unique=True),
    #: when a writer last asked for its number, seconds since 1970
    Column("made", BigInteger, nullable=False),
    Column("tier", Text, nullable=False),
    Column("receipt", _KEY, nullable=False),
    Column("notice", Text, nullable=False),
    *(Column(name, Text) for name in ("bot", "browser", "os", "device", "language", "region", "ip", "agent")),
    *(Column(name, Text) for name in ("accept_language", "host", "session", "isp", "domain")),
    # A number is never given twice: a writer may remember one whose context is gone.
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    # A row's number is SQLite's own; PostgreSQL gets a column for it, see postgres.py.
    Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("context", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("route", Text),
    Column("status", Integer),
    Column("referrer_host", Text),
    Column("referrer", Text),
    Column("query", Text),
    Column("duration_ms", BigInteger),
    Column("method", Text),
    Column("campaign", Text),
    Column("link", Text),
    Column("recipient", Text),
    Column("target", Text),
    Column("value", Double),
    postgresql_partition_by="RANGE (at)",
)

_own = contexts.c.receipt != ""
Index("contexts_receipt", contexts.c.receipt, sqlite_where=_own, postgresql_where=_own)
# Each index costs a third of the speed of writing, so there is one: erasure must find a context's rows.
Index("events_context", events.c.context)
# This one costs next to nothing: it notes only the lowest and highest date of each megabyte.
Index("events_expires", events.c.expires, postgresql_using="brin").ddl_if(dialect="postgresql")

#: batches that were written, so that one that comes again is known
batches = Table(
    "batches",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: what rows say, by hour and dimension; see events/rollups.py
rollups = Table(
    "rollups",
    metadata,
    Column("hour", BigInteger, primary_key=True),
    *(Column(name, _KEY, primary_key=True) for name in ("dimension", "value", "tier")),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: the random salts of days that are not closed, and the marks of their visitors; see events/uniques.py
salts = Table(
    "salts",
    metadata,
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("salt", Text, nullable=False),
)
marks = Table(
    "marks",
    metadata,
    Column("day", BigInteger, primary_key=True),
    Column("tier", _KEY, primary_key=True),
    Column("mark", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)
#: how many visitors the closed days had
uniques = Table(
    "uniques",
    metadata,
    Column("day", BigInteger, primary_key=True),
    Column("tier", _KEY, primary_key=True),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

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
