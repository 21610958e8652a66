-- Who may read a journal's rows and who may write them are two questions. Only the hub's own work on all organisations ('*') has ever written
-- here, and it adds: nothing of the hub changes or removes a record, and from now on the role it logs in with cannot either, but for the
-- salts, which are overwritten to erase a commitment (docs/journal.md). What is asked of one row at a time is asked without a subquery, which
-- would have to be set up for each statement: an eighth of what a record cost.

DROP POLICY tenant ON journal_org;
CREATE POLICY reads ON journal_org FOR SELECT
  USING (current_setting('hub.org', true) IN (name, '*'));
CREATE POLICY adds ON journal_org FOR INSERT
  WITH CHECK (current_setting('hub.org', true) = '*');
CREATE POLICY grows ON journal_org FOR UPDATE
  USING (current_setting('hub.org', true) = '*');

DROP POLICY tenant ON journal_record;
CREATE POLICY reads ON journal_record FOR SELECT
  USING ((SELECT current_setting('hub.org', true)) = '*'
    OR org = (SELECT number FROM journal_org WHERE name = current_setting('hub.org', true)));
CREATE POLICY adds ON journal_record FOR INSERT
  WITH CHECK (current_setting('hub.org', true) = '*');

DROP POLICY tenant ON journal_salt;
CREATE POLICY reads ON journal_salt FOR SELECT
  USING ((SELECT current_setting('hub.org', true)) = '*'
    OR org = (SELECT number FROM journal_org WHERE name = current_setting('hub.org', true)));
CREATE POLICY adds ON journal_salt FOR INSERT
  WITH CHECK (current_setting('hub.org', true) = '*');
CREATE POLICY erases ON journal_salt FOR UPDATE
  USING (current_setting('hub.org', true) = '*');
