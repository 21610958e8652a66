"""The journal: what was asked, allowed and done, in a form that anyone can check without trusting the hub."""
