-- Price tables that operators staged, by the hash that records name. In force is the confirmed one with the greatest turn;
-- where none is confirmed, the table that comes with the hub.
CREATE TABLE price_tables (
  hash    text PRIMARY KEY,
  body    bytea NOT NULL,
  state   text NOT NULL CHECK (state IN ('staged', 'confirmed', 'rejected')),
  turn    bigint NOT NULL DEFAULT 0,
  staged  text NOT NULL,
  decided text NOT NULL DEFAULT ''
);

-- Prices are of the whole hub: for its own work only.
ALTER TABLE price_tables ENABLE ROW LEVEL SECURITY;
ALTER TABLE price_tables FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON price_tables USING ((SELECT current_setting('hub.org', true)) = '*');
