"""Countersign: a governance hub for AI agents. One governed path for every call, and a record anyone can verify."""

__version__ = "0.1.0"
