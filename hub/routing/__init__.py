"""Where a call goes, and what becomes of it there: plans, attempts, the health of who is asked."""
