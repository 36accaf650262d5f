/**
 * Migrations: the ordered steps that bring a database file to the shape this program reads.
 *
 * A file's `PRAGMA user_version` is the number of steps it has taken. Steps are only ever appended: one
 * that has shipped is never edited, for files that took it would silently keep the old shape. Pure.
 *
 * @module
 */

/** Steps of `DATA/airlock.db`. */
export const storeMigrations: readonly string[] = [
  `
  CREATE TABLE tokens (
    id            TEXT    PRIMARY KEY,
    name          TEXT    NOT NULL,
    role          TEXT    NOT NULL CHECK (role IN ('viewer', 'invoker', 'operator', 'admin')),
    state         TEXT    NOT NULL CHECK (state IN ('pending', 'active', 'revoking', 'revoked')),
    bootstrap     INTEGER NOT NULL CHECK (bootstrap IN (0, 1)),
    secret_sha256 BLOB    NOT NULL UNIQUE CHECK (length(secret_sha256) = 32),
    created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER,
    CHECK ((revoked_at_ms IS NULL) = (state IN ('pending', 'active')))
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE plugins (
    id            TEXT    PRIMARY KEY,
    enabled       INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    desired       TEXT    NOT NULL CHECK (desired IN ('on-demand', 'stopped', 'unloaded')),
    updated_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE grants (
    plugin    TEXT    PRIMARY KEY,
    grants    TEXT    NOT NULL CHECK (json_valid(grants)),
    set_by    TEXT    NOT NULL,
    set_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE quarantines (
    plugin    TEXT    PRIMARY KEY,
    digest    TEXT    NOT NULL,
    code      TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    failures  INTEGER NOT NULL,
    window_ms INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL,
    recorded  INTEGER NOT NULL CHECK (recorded IN (0, 1))
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE grants_told (
    plugin   TEXT PRIMARY KEY,
    operator TEXT NOT NULL CHECK (json_valid(operator)),
    granted  TEXT NOT NULL CHECK (json_valid(granted)),
    pending  TEXT CHECK (pending IS NULL OR json_valid(pending))
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE folders_found (
    folder      TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE config_started (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    config TEXT    NOT NULL CHECK (json_valid(config))
  ) STRICT;
  `,
];

/** Steps of `DATA/commitments.db`. The row count is kept because counting a million rows reads the file. */
export const commitmentsMigrations: readonly string[] = [
  `
  CREATE TABLE commitments (
    entry INTEGER NOT NULL,
    field TEXT    NOT NULL,
    salt  BLOB    NOT NULL CHECK (length(salt) = 16),
    value BLOB,
    PRIMARY KEY (entry, field)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE commitments_count (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    rows INTEGER NOT NULL
  ) STRICT;
  INSERT INTO commitments_count (id, rows) VALUES (1, 0);
  `,
];
