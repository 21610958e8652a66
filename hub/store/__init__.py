"""Where state is kept. Each store is native to its medium; what two rooms share of one goes here."""
