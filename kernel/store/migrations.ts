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
  `
  CREATE TABLE audit (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    plugin      TEXT    NOT NULL,
    outcome     TEXT    NOT NULL CHECK (outcome IN ('granted', 'refused')),
    permission  TEXT    NOT NULL,
    is_all      INTEGER NOT NULL CHECK (is_all IN (0, 1)),
    resource    TEXT    NOT NULL,
    count       INTEGER NOT NULL,
    first_at_ms INTEGER NOT NULL,
    last_at_ms  INTEGER NOT NULL,
    UNIQUE (plugin, outcome, permission, is_all, resource)
  ) STRICT;
  CREATE INDEX audit_listed ON audit (plugin, seq);

  CREATE TABLE audit_untold (
    plugin TEXT    PRIMARY KEY,
    count  INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE audit_plugins (
    plugin        TEXT    PRIMARY KEY,
    untold        INTEGER NOT NULL,
    written_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  INSERT INTO audit_plugins SELECT plugin, 0, max(last_at_ms) FROM audit GROUP BY plugin;
  INSERT INTO audit_plugins SELECT plugin, count, unixepoch() * 1000 FROM audit_untold WHERE true
    ON CONFLICT (plugin) DO UPDATE SET untold = excluded.untold;
  DROP TABLE audit_untold;
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

/**
 * Steps of `DATA/jobs.db`. `jobs.seq` is the order in which jobs were accepted, and of their ids; inputs and outputs
 * lie apart, so that what is written often stays small. A job waits in one of the partial indexes at a time.
 */
export const jobsMigrations: readonly string[] = [
  `
  CREATE TABLE jobs (
    seq              INTEGER PRIMARY KEY AUTOINCREMENT,
    id               TEXT    NOT NULL UNIQUE,
    kind             TEXT    NOT NULL CHECK (kind IN ('action', 'pipeline')),
    plugin           TEXT,
    action           TEXT,
    state            TEXT    NOT NULL CHECK (state IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    wait             TEXT    CHECK (wait IN ('time', 'jobs', 'key', 'turn')),
    actor            TEXT    NOT NULL,
    parent           INTEGER,
    step             TEXT,
    schedule         TEXT,
    idempotency_key  TEXT,
    request_sha256   BLOB    NOT NULL,
    priority         INTEGER NOT NULL,
    due_at_ms        INTEGER,
    expires_at_ms    INTEGER,
    deadline_ms      INTEGER,
    retry            TEXT    CHECK (retry IS NULL OR json_valid(retry)),
    concurrency_key  TEXT,
    concurrency_max  INTEGER,
    attempt          INTEGER NOT NULL,
    failures         INTEGER NOT NULL,
    interruptions    INTEGER NOT NULL,
    lease_token      INTEGER NOT NULL,
    lease_life       TEXT,
    idempotent       INTEGER NOT NULL CHECK (idempotent IN (0, 1)),
    policy           TEXT    CHECK (policy IS NULL OR json_valid(policy)),
    cancel_requested INTEGER NOT NULL CHECK (cancel_requested IN (0, 1)),
    progress         REAL    NOT NULL,
    note             TEXT,
    error_code       TEXT,
    error_message    TEXT,
    input_sha256     TEXT    NOT NULL,
    output_sha256    TEXT,
    plan_sha256      TEXT,
    untold           INTEGER NOT NULL CHECK (untold IN (0, 1, 2, 3)),
    created_at_ms    INTEGER NOT NULL,
    started_at_ms    INTEGER,
    ended_at_ms      INTEGER,
    CHECK ((wait IS NOT NULL) = (state = 'pending')),
    CHECK ((lease_life IS NOT NULL) = (state = 'running')),
    CHECK ((ended_at_ms IS NOT NULL) = (state IN ('completed', 'failed', 'cancelled')))
  ) STRICT;
  CREATE INDEX jobs_turn ON jobs (plugin, action, priority DESC, seq) WHERE wait = 'turn';
  CREATE INDEX jobs_key ON jobs (plugin, action, concurrency_key, priority DESC, seq) WHERE wait = 'key';
  CREATE INDEX jobs_time ON jobs (due_at_ms) WHERE wait = 'time';
  CREATE INDEX jobs_expiry ON jobs (expires_at_ms) WHERE wait IS NOT NULL AND expires_at_ms IS NOT NULL;
  CREATE INDEX jobs_state ON jobs (state, seq);
  CREATE UNIQUE INDEX jobs_parent ON jobs (parent, step) WHERE parent IS NOT NULL;
  CREATE INDEX jobs_children ON jobs (parent, seq) WHERE parent IS NOT NULL;
  CREATE INDEX jobs_open ON jobs (parent, cancel_requested, seq) WHERE parent IS NOT NULL AND ended_at_ms IS NULL;
  CREATE INDEX jobs_blocked ON jobs (seq) WHERE wait = 'jobs';
  CREATE INDEX jobs_untold ON jobs (seq) WHERE untold <> 0;
  CREATE INDEX jobs_ended ON jobs (ended_at_ms, seq) WHERE ended_at_ms IS NOT NULL AND parent IS NULL;
  CREATE UNIQUE INDEX jobs_idempotency ON jobs (actor, idempotency_key) WHERE idempotency_key IS NOT NULL;

  CREATE TABLE job_data (
    seq    INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    input  BLOB    NOT NULL,
    output BLOB
  ) STRICT;

  CREATE TABLE job_dependencies (
    on_seq INTEGER NOT NULL,
    seq    INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    PRIMARY KEY (on_seq, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX job_dependencies_of ON job_dependencies (seq);

  CREATE TABLE job_events (
    job       INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    events    TEXT    NOT NULL,
    light_bytes INTEGER NOT NULL,
    PRIMARY KEY (job, first_seq)
  ) STRICT;

  CREATE TABLE job_logs (
    job     INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    level   TEXT    NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error')),
    text    TEXT    NOT NULL,
    PRIMARY KEY (job, seq)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE pipeline_redrives (
    pipeline   INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    after_step TEXT    NOT NULL
  ) STRICT;

  CREATE TABLE pipelines_deleted (
    pipeline INTEGER PRIMARY KEY
  ) STRICT;

  CREATE TABLE schedules (
    id         TEXT    PRIMARY KEY,
    actor      TEXT    NOT NULL,
    request    TEXT    NOT NULL CHECK (json_valid(request)),
    next_at_ms INTEGER,
    last_at_ms INTEGER,
    last_job   TEXT,
    created_at_ms INTEGER NOT NULL,
    untold     INTEGER NOT NULL CHECK (untold IN (0, 1))
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX schedules_next ON schedules (next_at_ms) WHERE next_at_ms IS NOT NULL;
  `,
];
