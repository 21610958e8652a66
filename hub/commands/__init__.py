"""The commands of `hub`, one file to a group. A file imports what its commands need when one of them runs, not before."""
