"""What keeps PostgreSQL's ledger as it is: triggers that refuse every change but an erasure.

Refuses to know who asks: the owner of the tables can take the triggers away, and then only the chain tells.
"""

from __future__ import annotations

from typing import Final

from .rows import BLANKED

__all__ = ["GUARD", "GUARD_3"]

_REFUSAL: Final = "RAISE EXCEPTION 'rows of the ledger are only ever added'"

#: since version 3: an erasure may empty the sealed values of a row, and nothing else may change
GUARD_3: Final = (
    "DROP TRIGGER IF EXISTS ledger_is_append_only ON ledger",
    """
    CREATE TRIGGER ledger_is_append_only BEFORE DELETE OR TRUNCATE ON ledger
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()
    """,
    f"""
    CREATE FUNCTION ledger_is_blanked() RETURNS trigger LANGUAGE plpgsql AS
    $$ DECLARE kept consentmw.ledger; BEGIN
        kept := OLD;
        {" ".join(f"kept.{name} := '';" for name in BLANKED)}
        IF OLD.sealed = '' OR NEW IS DISTINCT FROM kept THEN {_REFUSAL}; END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER ledger_is_blanked BEFORE UPDATE ON ledger
    FOR EACH ROW EXECUTE FUNCTION ledger_is_blanked()
    """,
    """
    CREATE TRIGGER notices_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON notices
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()
    """,
    # In sessions that replay a replication, too.
    "ALTER TABLE ledger ENABLE ALWAYS TRIGGER ledger_is_append_only",
    "ALTER TABLE ledger ENABLE ALWAYS TRIGGER ledger_is_blanked",
    "ALTER TABLE notices ENABLE ALWAYS TRIGGER notices_are_append_only",
)

#: for new tables
GUARD: Final = (
    f"CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_REFUSAL}; END $$",
    *GUARD_3,
)
