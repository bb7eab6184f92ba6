"""Accounts in a SQLite file, which several processes spend from."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from uuid import uuid4

from tta_notebook.core.errors import StorageError
from tta_notebook.cost.accounts import EMPTY, Balance, Taken, Verdict
from tta_notebook.storage.owner import Owner
from tta_notebook.storage.sqlite import Database

_log = logging.getLogger("tta_notebook")

_TABLES = """
CREATE TABLE account (name TEXT PRIMARY KEY, spent INTEGER NOT NULL, lost INTEGER NOT NULL);
CREATE TABLE hold (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, amount INTEGER NOT NULL, owner TEXT NOT NULL
);
CREATE INDEX hold_account ON hold (account);
"""


class AccountFile:
    """The file itself, with this process's claim on what it holds there.

    What a process has set aside when it dies becomes lost: it may have been spent, so it is never
    given back, and what was really spent lies between `spent` and `spent + lost`.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.database = Database(path, migrations=[_TABLES])
        self._owner = Owner(Path(f"{self.database.path}-owners"))

    def account(self, name: str) -> SQLiteAccount:
        """Return the account of that name."""
        return SQLiteAccount(self.database, self._owner, name)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self.database.close()


class SQLiteAccount:
    """One account of a file: every step of it is one transaction."""

    def __init__(self, database: Database, owner: Owner, name: str) -> None:
        self._database = database
        self._owner = owner
        self._name = name
        self._last = EMPTY

    async def take(self, limit: int, least: int, most: int) -> Taken:
        """Set aside up to `most`, no less than `least`; say why not otherwise.

        Raises:
            StorageError: the file cannot be used, so nobody knows what is left: nothing is spent.
        """
        hold = uuid4().hex
        owner = self._owner.id
        asked = (limit, least, most)
        work = asyncio.ensure_future(
            self._database.run(lambda db: self._take(db, hold, owner, asked))
        )
        try:
            taken = await asyncio.shield(work)
        except asyncio.CancelledError:
            # The transaction may be under way, and would set aside what nobody gives back.
            work.add_done_callback(partial(self._give_back, hold))
            raise
        self._last = taken.balance
        return taken

    def _give_back(self, hold: str, work: asyncio.Future[Taken]) -> None:
        if not work.cancelled() and work.exception() is None:
            self.release(hold)

    def _take(self, db: Connection, hold: str, owner: str, asked: tuple[int, int, int]) -> Taken:
        balance = self._read(db)
        amount = balance.judge(*asked)
        if isinstance(amount, Verdict) and balance.held and self._bury(db):
            balance = self._read(db)
            amount = balance.judge(*asked)
        if isinstance(amount, Verdict):
            return Taken(None, amount, balance)
        db.execute("INSERT OR IGNORE INTO account VALUES (?, 0, 0)", [self._name])
        db.execute("INSERT INTO hold VALUES (?, ?, ?, ?)", [hold, self._name, amount, owner])
        return Taken(hold, amount, Balance(balance.spent, balance.held + amount, balance.lost))

    def settle(self, hold: str | int, cost: int) -> Balance:
        """Turn what was set aside into what was spent.

        Where the file cannot be written, what was set aside stays so: too much rather than too
        little, and the answer that was paid for is not lost.
        """
        try:
            self._last = self._database.run_sync(partial(self._settle, hold=hold, cost=cost))
        except StorageError as error:
            _log.warning("A payment could not be entered, and stays set aside: %s", error)
        return self._last

    def release(self, hold: str | int) -> Balance:
        """Give back what was set aside."""
        return self.settle(hold, 0)

    def balance(self) -> Balance:
        """Return the state of the account."""
        return self._database.read_sync(self._read, missing=EMPTY)

    def _settle(self, db: Connection, hold: str | int, cost: int) -> Balance:
        if self._forget(db, hold):
            db.execute("UPDATE account SET spent = spent + ? WHERE name = ?", [cost, self._name])
        return self._read(db)

    def _forget(self, db: Connection, hold: str | int) -> bool:
        return db.execute("DELETE FROM hold WHERE id = ?", [hold]).rowcount > 0

    def _read(self, db: Connection) -> Balance:
        row = db.execute("SELECT spent, lost FROM account WHERE name = ?", [self._name]).fetchone()
        held = db.execute(
            "SELECT coalesce(sum(amount), 0) FROM hold WHERE account = ?", [self._name]
        ).fetchone()[0]
        spent, lost = row or (0, 0)
        return Balance(spent, held, lost)

    def _bury(self, db: Connection) -> bool:
        """Make lost what processes that are gone had set aside; tell whether there was any."""
        found = db.execute("SELECT DISTINCT owner FROM hold WHERE account = ?", [self._name])
        dead = [owner for (owner,) in found.fetchall() if not self._owner.is_alive(owner)]
        for owner in dead:
            db.execute(
                "UPDATE account SET lost = lost + (SELECT sum(amount) FROM hold "
                "WHERE account = ?1 AND owner = ?2) WHERE name = ?1",
                [self._name, owner],
            )
            db.execute("DELETE FROM hold WHERE account = ? AND owner = ?", [self._name, owner])
        return bool(dead)
