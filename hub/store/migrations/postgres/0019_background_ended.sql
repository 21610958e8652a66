-- How an answer that was made in the background ended: written once, by who finds out, before its call is settled by it. The row goes when
-- what the call cost is in the ledger to stay, so that whoever comes upon it settles the call by the same.
ALTER TABLE background_response ADD COLUMN ended text NOT NULL DEFAULT '';  -- JSON; empty: it is waited for

CREATE INDEX background_response_of ON background_response (org, subject, response);
CREATE INDEX background_response_until ON background_response (until);
