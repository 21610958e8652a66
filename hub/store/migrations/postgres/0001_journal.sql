-- The journal (hub/audit), written by several processes. Row-level security is forced: without `hub.org` set, as each transaction of the
-- hub does, nothing is seen and nothing can be written; '*' is the hub's own work on all organisations.

CREATE TABLE journal_meta (
  key   text PRIMARY KEY,
  value text NOT NULL
);

-- One row for each tree: who it belongs to and its head, which a writer locks. `range` is the compact range (hub/audit/tree.py), `signed`
-- the size of the newest checkpoint. Room in each page, so that a changed head stays where it is.
CREATE TABLE journal_org (
  number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name   text NOT NULL UNIQUE CHECK (name <> ''),
  id     text NOT NULL UNIQUE,
  origin text NOT NULL UNIQUE,
  vkey   text NOT NULL,
  size   bigint NOT NULL DEFAULT 0,
  range  bytea NOT NULL,
  signed bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

-- `phase`: 0 a record that stands alone, 1 an intent, 2 an outcome. `leaf` is the canonical JSON, `hash` its RFC 6962 leaf hash.
CREATE TABLE journal_record (
  org   integer NOT NULL,
  index bigint NOT NULL,
  id    text NOT NULL,
  phase smallint NOT NULL,
  hash  bytea NOT NULL,
  leaf  bytea NOT NULL,
  PRIMARY KEY (org, index)
);
CREATE INDEX journal_record_id ON journal_record (id, phase);

-- Salts of the commitments, 32 bytes for each record of a batch, under the index of the batch's first record. To erase a payload's
-- commitment, overwrite its 32 bytes with zeros: the tree and every proof stay valid.
CREATE TABLE journal_salt (
  org   integer NOT NULL,
  index bigint NOT NULL,
  salts bytea NOT NULL,
  PRIMARY KEY (org, index)
);

CREATE TABLE journal_checkpoint (
  org  integer NOT NULL,
  size bigint NOT NULL,
  note text NOT NULL,
  PRIMARY KEY (org, size)
);

-- Lives of processes. Each holds an advisory lock for as long as it lives, whose key is `boot` read as a signed 64-bit number. `ended` is
-- an orderly end, or another's word that it is dead, after which it may write nothing; `settled` says that no intent of it is open. `turn`
-- grows when a statement of which no answer came is looked up: should it come late, it finds that its turn is over.
CREATE TABLE journal_boot (
  boot    text PRIMARY KEY,
  turn    bigint NOT NULL DEFAULT 0,
  started timestamptz NOT NULL DEFAULT now(),
  ended   timestamptz,
  settled timestamptz
);
CREATE INDEX journal_boot_open ON journal_boot (boot) WHERE settled IS NULL;

-- Which trees a boot has written to, and an index below which none of its intents waits for an outcome.
CREATE TABLE journal_writer (
  boot  text NOT NULL,
  org   integer NOT NULL,
  floor bigint NOT NULL,
  PRIMARY KEY (boot, org)
);

ALTER TABLE journal_org ENABLE ROW LEVEL SECURITY;
ALTER TABLE journal_org FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON journal_org
  USING ((SELECT current_setting('hub.org', true)) IN (name, '*'));

ALTER TABLE journal_record ENABLE ROW LEVEL SECURITY;
ALTER TABLE journal_record FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON journal_record
  USING ((SELECT current_setting('hub.org', true)) = '*'
    OR org = (SELECT number FROM journal_org WHERE name = current_setting('hub.org', true)));

ALTER TABLE journal_salt ENABLE ROW LEVEL SECURITY;
ALTER TABLE journal_salt FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON journal_salt
  USING ((SELECT current_setting('hub.org', true)) = '*'
    OR org = (SELECT number FROM journal_org WHERE name = current_setting('hub.org', true)));

ALTER TABLE journal_checkpoint ENABLE ROW LEVEL SECURITY;
ALTER TABLE journal_checkpoint FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON journal_checkpoint
  USING ((SELECT current_setting('hub.org', true)) = '*'
    OR org = (SELECT number FROM journal_org WHERE name = current_setting('hub.org', true)));

ALTER TABLE journal_writer ENABLE ROW LEVEL SECURITY;
ALTER TABLE journal_writer FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON journal_writer
  USING ((SELECT current_setting('hub.org', true)) = '*'
    OR org = (SELECT number FROM journal_org WHERE name = current_setting('hub.org', true)));

-- One way there and back for a batch of records whose places their writer knows, for nobody else has written to these logs since it did.
-- `done`; `moved` where somebody has; `ended` where the writer may write no more; `late` where it has looked this very statement up.
-- The writer's lock comes first, as in every transaction of it, then the heads in order, and only then is its row looked at.
CREATE FUNCTION journal_append(
  lock bigint, writer text, its_turn bigint,
  numbers integer[], firsts bigint[], sizes bigint[], ranges bytea[], batch_salts bytea[],
  owners integer[], indexes bigint[], ids text[], phases smallint[], hashes bytea[], leaves bytea[]
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  present bigint[];
  life record;
BEGIN
  PERFORM set_config('hub.org', '*', true);
  PERFORM pg_advisory_xact_lock_shared(lock);
  SELECT array_agg(size) INTO present FROM (SELECT size FROM journal_org WHERE number = ANY(numbers) ORDER BY number FOR UPDATE) AS heads;
  SELECT turn, ended INTO life FROM journal_boot WHERE boot = writer;
  IF NOT FOUND OR life.ended IS NOT NULL THEN
    RETURN 'ended';
  ELSIF life.turn <> its_turn THEN
    RETURN 'late';
  ELSIF present IS DISTINCT FROM firsts THEN
    RETURN 'moved';
  END IF;
  UPDATE journal_org AS o SET size = new.size, range = new.range
    FROM unnest(numbers, sizes, ranges) AS new (number, size, range) WHERE o.number = new.number;
  INSERT INTO journal_salt (org, index, salts)
    SELECT * FROM unnest(numbers, firsts, batch_salts) AS new (org, index, salts) WHERE new.salts <> '';
  INSERT INTO journal_record (org, index, id, phase, hash, leaf)
    SELECT * FROM unnest(owners, indexes, ids, phases, hashes, leaves);
  RETURN 'done';
END $$;
