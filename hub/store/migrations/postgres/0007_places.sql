-- Records get their places from the database, so that a batch is one way there and back, whoever else writes to these logs. `journal_append`
-- stays for hubs of the version before, which run beside these until they are replaced: both lock the same heads and leave the same behind.

-- One batch for each log, in the order of `numbers`, which rise. `places` says of each record to which batch it belongs, counted from 1, and
-- rises as well; `fresh`, that the writer may not have written to all of these logs yet.
--
-- `done`, and `firsts` is the index of each batch's first record; else nothing was done: `ended` where the writer may write no more; `late`
-- where it has looked this very statement up; `gone` where a log is not there, and `firsts` has NULL in its place.
--
-- The writer's lock comes first, as in every transaction of it, then the heads in order, and only then is its row looked at, by a statement
-- that sees what was committed while the heads were waited for.
CREATE FUNCTION journal_place(
  lock bigint, writer text, its_turn bigint, fresh boolean, numbers integer[], batch_salts bytea[],
  places integer[], ids text[], phases smallint[], hashes bytea[], leaves bytea[],
  OUT said text, OUT firsts bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
  batches integer := cardinality(numbers);
  ranges bytea[];
  sizes bigint[];
  shifts bigint[];
  next integer := 1;
  grown bigint;
  peaks bytea;
  depth integer;
  node bytea;
  rest bigint;
BEGIN
  PERFORM set_config('hub.org', '*', true);
  PERFORM pg_advisory_xact_lock_shared(lock);
  FOR batch IN 1 .. batches LOOP
    SELECT o.size, o.range INTO grown, peaks FROM journal_org AS o WHERE o.number = numbers[batch] FOR UPDATE;
    firsts[batch] := grown;
    ranges[batch] := peaks;
  END LOOP;
  SELECT CASE WHEN b.ended IS NOT NULL THEN 'ended' WHEN b.turn <> its_turn THEN 'late' ELSE 'done' END
    INTO said FROM journal_boot AS b WHERE b.boot = writer;
  IF said IS NULL THEN
    said := 'ended';
  ELSIF said = 'done' AND array_position(firsts, NULL) IS NOT NULL THEN
    said := 'gone';
  END IF;
  IF said <> 'done' THEN
    RETURN;
  END IF;
  IF fresh THEN
    INSERT INTO journal_writer (boot, org, floor)
      SELECT writer, new.org, new.floor FROM unnest(numbers, firsts) AS new (org, floor) ON CONFLICT DO NOTHING;
  END IF;
  -- `Range.append` of hub/audit/tree.py: a leaf takes in the perfect subtrees before it that are as large as what it has become.
  FOR batch IN 1 .. batches LOOP
    grown := firsts[batch];
    shifts[batch] := grown - next;
    peaks := substr(ranges[batch], 9);
    depth := length(peaks);
    WHILE places[next] = batch LOOP
      node := hashes[next];
      rest := grown;
      WHILE rest & 1 = 1 LOOP
        depth := depth - 32;
        node := sha256('\x01'::bytea || substr(peaks, depth + 1, 32) || node);
        rest := rest >> 1;
      END LOOP;
      peaks := substr(peaks, 1, depth) || node;
      depth := depth + 32;
      grown := grown + 1;
      next := next + 1;
    END LOOP;
    sizes[batch] := grown;
    ranges[batch] := int8send(grown) || peaks;
  END LOOP;
  IF batches = 1 THEN  -- what the join costs is a sixth of a small batch
    UPDATE journal_org AS o SET size = sizes[1], range = ranges[1] WHERE o.number = numbers[1];
  ELSE
    UPDATE journal_org AS o SET size = new.size, range = new.range
      FROM unnest(numbers, sizes, ranges) AS new (number, size, range) WHERE o.number = new.number;
  END IF;
  WITH salt AS (
    INSERT INTO journal_salt (org, index, salts)
      SELECT * FROM unnest(numbers, firsts, batch_salts) AS new (org, index, salts) WHERE new.salts <> ''
  )
  INSERT INTO journal_record (org, index, id, phase, hash, leaf)
    SELECT numbers[new.place], shifts[new.place] + new.at, new.id, new.phase, new.hash, new.leaf
    FROM unnest(places, ids, phases, hashes, leaves) WITH ORDINALITY AS new (place, id, phase, hash, leaf, at);
END $$;
