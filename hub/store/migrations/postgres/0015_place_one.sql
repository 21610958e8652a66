-- The commonest batch is one record in one log: what a call waits for that comes alone. This is `journal_place` for it, without arrays, and
-- with the head read, locked and written by one statement.
--
-- It answers with the record's index. Where `journal_place` would do nothing it fails, which undoes the head: ask that one, which says why.

-- `Range.append` of hub/audit/tree.py for one leaf.
CREATE FUNCTION journal_grown(size bigint, range bytea, leaf_hash bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  depth integer := length(range);
  node bytea := leaf_hash;
  rest bigint := size;
BEGIN
  WHILE rest & 1 = 1 LOOP
    depth := depth - 32;
    node := sha256('\x01'::bytea || substr(range, depth + 1, 32) || node);
    rest := rest >> 1;
  END LOOP;
  RETURN int8send(size + 1) || substr(range, 9, depth - 8) || node;
END $$;

CREATE FUNCTION journal_place_one(
  lock bigint, writer text, its_turn bigint, log integer, salt bytea, record_id text, record_phase smallint, record_hash bytea, record_leaf bytea
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  its_tenant text := set_config('hub.org', '*', true);
  first bigint;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(lock);
  UPDATE journal_org AS o SET size = o.size + 1, range = journal_grown(o.size, o.range, record_hash)
    WHERE o.number = log RETURNING o.size - 1 INTO first;
  -- by a statement of its own: it sees what was committed while the head was waited for
  PERFORM 1 FROM journal_boot AS b WHERE b.boot = writer AND b.turn = its_turn AND b.ended IS NULL;
  IF first IS NULL OR NOT FOUND THEN
    RAISE EXCEPTION 'this writer may not write here, or not at the moment';
  END IF;
  IF salt <> '' THEN
    INSERT INTO journal_salt (org, index, salts) VALUES (log, first, salt);
  END IF;
  INSERT INTO journal_record (org, index, id, phase, hash, leaf)
    VALUES (log, first, record_id, record_phase, record_hash, record_leaf);
  RETURN first;
END $$;
